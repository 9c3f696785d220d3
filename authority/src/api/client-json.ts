/**
 * How clients are shown by the management API.
 *
 * Units   NumericDate; `token_ttl_seconds` in seconds.
 * Errors  none.
 * Source  DESIGN 4.
 *
 * @module
 */
import * as v from 'valibot';
import type { ClientSecret, Rotation } from '../registry/lifecycle.js';
import type { Client, ClientKey } from '../registry/registry.js';
import type { Json, RouteAnswer } from './route.js';

const nullableNumber = v.nullable(v.number());

export const shownKey: v.GenericSchema = v.strictObject({
  kid: v.string(),
  public_key: v.strictObject({ kty: v.string(), crv: v.string(), x: v.string() }),
  label: v.string(),
  created_at: v.number(),
  not_before: nullableNumber,
  expires_at: nullableNumber,
});

const secretEntries = {
  id: v.number(),
  prefix: v.string(),
  last_four: v.string(),
  label: v.string(),
  created_at: v.number(),
  expires_at: nullableNumber,
};
export const shownSecret: v.GenericSchema = v.strictObject(secretEntries);
/** The only answer that holds a secret. */
export const shownNewSecret: v.GenericSchema = v.strictObject({
  client_secret: v.string(),
  ...secretEntries,
});

export const shownClient: v.GenericSchema = v.strictObject({
  client_id: v.string(),
  kind: v.picklist(['device', 'service']),
  status: v.picklist(['active', 'suspended', 'revoked']),
  roles: v.array(v.string()),
  labels: v.record(v.string(), v.string()),
  keys: v.array(shownKey),
  key_rotation: v.nullable(
    v.strictObject({ old_kid: v.string(), new_kid: v.string(), started_at: v.number() }),
  ),
  secrets: v.array(shownSecret),
  secret_rotation: v.nullable(
    v.strictObject({ old_id: v.number(), new_id: v.number(), started_at: v.number() }),
  ),
  may_mint: v.boolean(),
  token_ttl_seconds: nullableNumber,
  tokens_not_before: v.number(),
  limited_to_label: v.nullable(v.strictObject({ key: v.string(), value: v.string() })),
  created_at: v.number(),
  version: v.number(),
});

export const keyToJson = (key: ClientKey): Json => ({
  kid: key.kid,
  public_key: key.jwk,
  label: key.label,
  created_at: key.createdAt,
  not_before: key.notBefore ?? null,
  expires_at: key.expiresAt ?? null,
});

export const secretToJson = (secret: ClientSecret): Json => ({
  id: secret.id,
  prefix: secret.prefix,
  last_four: secret.lastFour,
  label: secret.label,
  created_at: secret.createdAt,
  expires_at: secret.expiresAt ?? null,
});

function rotationToJson<Id>(rotation: Rotation<Id> | undefined, idName: string): Json | null {
  if (rotation === undefined) return null;
  const { old, new: added, startedAt } = rotation;
  return { [`old_${idName}`]: old, [`new_${idName}`]: added, started_at: startedAt };
}

export const clientToJson = (client: Client): Json => ({
  client_id: client.id,
  kind: client.kind,
  status: client.status,
  roles: client.roles,
  labels: Object.fromEntries(client.labels),
  keys: client.keys.map(keyToJson),
  key_rotation: rotationToJson(client.keyRotation, 'kid'),
  secrets: client.secrets.map(secretToJson),
  secret_rotation: rotationToJson(client.secretRotation, 'id'),
  may_mint: client.mayMint,
  token_ttl_seconds: client.tokenTtlSeconds ?? null,
  tokens_not_before: client.tokensNotBefore,
  limited_to_label: client.limitedToLabel ?? null,
  created_at: client.createdAt,
  version: client.version,
});

export const clientAnswer = (client: Client): RouteAnswer => ({
  body: clientToJson(client),
  version: client.version,
  target: client.id,
});
