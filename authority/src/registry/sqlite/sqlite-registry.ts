/**
 * The registry in one SQLite file.
 *
 * Units   none.
 * Errors  those of `Registry`. What SQLite cannot do now (disk full, locked, I/O error) becomes
 *         `UnavailableError`, so that clients try again; any other SQLite error is a bug.
 * Source  https://sqlite.org/rescode.html
 *
 * @module
 */
import { type Clock, UnavailableError } from '@latchkey/shared';
import SqliteDatabase from 'better-sqlite3';
import type { Registry } from '../registry.js';
import { createAssertions } from './assertions.js';
import { createCatalog } from './catalog.js';
import { createClients } from './clients.js';
import { openDatabase } from './database.js';
import { createEnrollments } from './enrollments.js';
import { createSigningKeys } from './signing-keys.js';

const TRANSIENT = /^SQLITE_(BUSY|FULL|IOERR|LOCKED|NOMEM|READONLY)/;

/** Runs synchronous work as a promise, and names failures of the storage. */
async function run<Result>(work: () => Result): Promise<Result> {
  try {
    return work();
  } catch (cause) {
    if (cause instanceof SqliteDatabase.SqliteError && TRANSIENT.test(cause.code)) {
      throw new UnavailableError('the registry cannot be used now', { detail: cause.code, cause });
    }
    throw cause;
  }
}

export interface SqliteRegistryOptions {
  /** Path of a file that exists; an empty one becomes a new registry. */
  readonly path: string;
  readonly clock: Clock;
  readonly isReadOnly?: boolean;
}

export function openSqliteRegistry({ path, clock, isReadOnly }: SqliteRegistryOptions): Registry {
  const db = openDatabase({ path, isReadOnly: isReadOnly ?? false });
  const catalog = createCatalog({ db, clock });
  const clients = createClients({ db, clock });
  const enrollments = createEnrollments({ db, clock, clients });
  const assertions = createAssertions({ db, clock });
  const keys = createSigningKeys({ db, clock });
  return {
    createResource: (resource) => run(() => catalog.createResource(resource)),
    resource: (identifier) => run(() => catalog.resource(identifier)),
    listResources: (page) => run(() => catalog.listResources(page)),
    createPermission: (permission) => run(() => catalog.createPermission(permission)),
    permission: (name) => run(() => catalog.permission(name)),
    listPermissions: (page) => run(() => catalog.listPermissions(page)),
    createRole: (role) => run(() => catalog.createRole(role)),
    role: (name) => run(() => catalog.role(name)),
    listRoles: (page) => run(() => catalog.listRoles(page)),
    createClient: (client) => run(() => clients.create(client)),
    client: (id) => run(() => clients.client(id)),
    listClients: (kind, page) => run(() => clients.list(kind, page)),
    activeKey: (id, kid) => run(() => clients.activeKey(id, kid)),
    rights: (id) => run(() => clients.rights(id)),
    createEnrollment: (enrollment) => run(() => enrollments.create(enrollment)),
    enrollment: (id) => run(() => enrollments.enrollment(id)),
    listEnrollments: (page) => run(() => enrollments.list(page)),
    redeem: (redemption) => run(() => enrollments.redeem(redemption)),
    spendAssertion: (assertion) => run(() => assertions.spend(assertion)),
    addSigningKey: (key, status) => run(() => keys.add(key, status)),
    signingKeys: () => run(() => keys.list()),
    close: () =>
      run(() => {
        db.close();
      }),
  };
}
