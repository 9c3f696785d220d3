/**
 * Puts together the parts that keep clients in SQLite.
 *
 * Units   none.
 * Errors  none of its own.
 * Source  DESIGN 5.
 *
 * @module
 */
import type { Clock } from '@latchkey/shared';
import type { Database } from 'better-sqlite3';
import type { FleetSummary, SummaryRequest } from '../fleet-summary.js';
import type { Reach } from '../lifecycle.js';
import type { Client, ClientFilter, Page, PageRequest } from '../registry.js';
import { type ClientChanges, createClientChanges } from './client-changes.js';
import { createClientImport, type ImportClients } from './client-import.js';
import { type ClientKeys, createClientKeys } from './client-keys.js';
import { createClientList } from './client-list.js';
import { type ClientReader, createClientReader } from './client-reader.js';
import { type ActiveClients, createActiveClients } from './client-rights.js';
import { type ClientSecrets, createClientSecrets } from './client-secrets.js';
import { type ClientEndings, createClientEndings } from './client-status.js';
import { type Clients, createClients } from './clients.js';
import { createFleetSummary } from './fleet-summary.js';
import type { RoleLabels } from './role-labels.js';

export interface ClientStore {
  readonly reader: ClientReader;
  readonly changes: ClientChanges;
  readonly clients: Clients;
  readonly clientKeys: ClientKeys;
  readonly secrets: ClientSecrets;
  readonly endings: ClientEndings;
  readonly active: ActiveClients;
  readonly importClients: ImportClients;
  readonly list: (filter: ClientFilter, page: PageRequest) => Page<Client>;
  readonly summarize: (request: SummaryRequest, reach?: Reach) => FleetSummary;
}

export function createClientStore(deps: {
  readonly db: Database;
  readonly clock: Clock;
  readonly roleLabels: RoleLabels;
}): ClientStore {
  const reader = createClientReader(deps);
  const changes = createClientChanges({ ...deps, reader });
  const clientKeys = createClientKeys({ ...deps, changes });
  const clients = createClients({ ...deps, reader, changes, keys: clientKeys });
  const secrets = createClientSecrets({ ...deps, changes });
  return {
    ...{ reader, changes, clientKeys, clients, secrets },
    importClients: createClientImport({ ...deps, reader, changes, clients, clientKeys, secrets }),
    endings: createClientEndings({ ...deps, reader, changes }),
    active: createActiveClients({ ...deps, reader }),
    list: createClientList({ ...deps, reader }),
    summarize: createFleetSummary(deps),
  };
}
