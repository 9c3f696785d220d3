/**
 * `/api/v1/devices`: the clients that are devices.
 *
 * Units   NumericDate.
 * Errors  problem details.
 * Source  DESIGN 4.
 *
 * @module
 */
import { type Logger, parseClientId, parsedBy, parseWith } from '@latchkey/shared';
import * as v from 'valibot';
import type { Client, Registry } from '../registry/registry.js';
import { labelsField, publicKeyField, rolesField } from './fields.js';
import type { Noun } from './noun.js';

const schema = v.strictObject({
  client_id: v.pipe(v.string(), parsedBy(parseClientId)),
  public_key: v.optional(publicKeyField),
  roles: v.optional(rolesField, []),
  labels: v.optional(labelsField, {}),
});

const toJson = (client: Client) => ({
  client_id: client.id,
  status: client.status,
  roles: client.roles,
  labels: Object.fromEntries(client.labels),
  keys: client.keys.map((key) => ({
    kid: key.kid,
    public_key: key.jwk,
    created_at: key.createdAt,
    not_before: key.notBefore ?? null,
    expires_at: key.expiresAt ?? null,
  })),
  created_at: client.createdAt,
});

export function devicesNoun(deps: {
  readonly registry: Registry;
  readonly logger: Logger;
}): Noun<Client> {
  const { registry, logger } = deps;
  return {
    name: 'device',
    path: '/devices',
    create: async (body) => {
      const { client_id: id, public_key: key, ...rest } = parseWith(schema, body, 'the request');
      const client = await registry.createClient({ ...rest, id, kind: 'device', key });
      logger.info({ event: 'client.created', clientId: id }, 'client created');
      return toJson(client);
    },
    show: async (id) => {
      const client = await registry.client(parseClientId(id));
      return client?.kind === 'device' ? client : undefined;
    },
    list: (page) => registry.listClients({ kind: 'device' }, page),
    toJson,
  };
}
