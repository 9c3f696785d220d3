/**
 * One line of an import: its members, and the client that it becomes.
 *
 * Units   NumericDate; `token_ttl_seconds` in seconds.
 * Errors  valibot issues; `FormatError` for members that exclude each other.
 * Source  DESIGN 4.
 *
 * @module
 */
import {
  type ClientId,
  FormatError,
  type Kid,
  type PublicJwk,
  type RoleName,
  rawOfPublicJwk,
  rawOfPublicKeyText,
  thumbprint,
} from '@latchkey/shared';
import * as v from 'valibot';
import type { ImportedClient } from '../registry/client-import.js';
import { carriedSecret } from '../registry/client-secret.js';
import type { ClientKind, ClientStatus, Labels } from '../registry/registry.js';
import {
  clientIdField,
  instantField,
  labelsField,
  labelTextField,
  rolesField,
  textField,
  tokenTtlField,
} from './fields.js';
import { documented } from './json-schema.js';

/** A key that is not yet checked to be a point of prime order. */
export interface Key {
  readonly kid: Kid;
  readonly jwk: PublicJwk;
  readonly raw: Uint8Array;
}

const keyField: v.GenericSchema<unknown, Key> = v.pipe(
  v.unknown(),
  documented({
    anyOf: [{ type: 'object' }, { type: 'string', maxLength: 4096 }],
    description: 'Ed25519: a JWK, or as text PEM, an OpenSSH line, hex or base64',
  }),
  v.rawTransform(({ dataset: { value }, addIssue, NEVER }): Key => {
    try {
      const isText = typeof value === 'string';
      const raw = isText ? rawOfPublicKeyText(value) : rawOfPublicJwk(value, 'public key');
      const x = Buffer.from(raw).toString('base64url');
      const jwk = { kty: 'OKP', crv: 'Ed25519', x } as const;
      return { kid: thumbprint(jwk), jwk, raw };
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      addIssue({ message: error.problem });
    }
    return NEVER;
  }),
);

const nullableInstant = v.optional(v.nullable(instantField));
const keysField = v.pipe(
  v.array(
    v.strictObject({
      public_key: keyField,
      label: v.optional(labelTextField, ''),
      not_before: nullableInstant,
      expires_at: nullableInstant,
    }),
  ),
  v.maxLength(16, 'must not have more than 16 items'),
);

const lineEntries = {
  client_id: clientIdField,
  public_key: v.optional(keyField),
  /** In place of `public_key`: several, or with more to say about them. */
  keys: v.optional(keysField),
  roles: v.optional(rolesField),
  labels: v.optional(labelsField),
  may_mint: v.optional(v.boolean()),
  token_ttl_seconds: v.optional(v.nullable(tokenTtlField)),
  status: v.optional(v.picklist(['active', 'suspended', 'revoked'])),
};
/** A line as it is read; `client_secret` only of a service. */
export interface Line {
  readonly client_id: ClientId;
  readonly public_key?: Key | undefined;
  readonly keys?: readonly LineKey[] | undefined;
  readonly roles?: readonly RoleName[] | undefined;
  readonly labels?: Labels | undefined;
  readonly may_mint?: boolean | undefined;
  readonly token_ttl_seconds?: number | null | undefined;
  readonly status?: ClientStatus | undefined;
  readonly client_secret?: ReturnType<typeof carriedSecret> | undefined;
}

interface LineKey {
  readonly public_key: Key;
  readonly label: string;
  readonly not_before?: number | null | undefined;
  readonly expires_at?: number | null | undefined;
}

const deviceLine: v.GenericSchema<unknown, Line> = v.strictObject(lineEntries);
const serviceLine: v.GenericSchema<unknown, Line> = v.strictObject({
  ...lineEntries,
  client_secret: v.optional(textField(carriedSecret, { minLength: 32, maxLength: 256 })),
});

/** Every key of a line, under the name of its field. */
export function namedKeys({
  public_key: key,
  keys = [],
}: Line): readonly (readonly [string, Key])[] {
  const several = keys.map((one, i) => [`keys.${i}.public_key`, one.public_key] as const);
  return key === undefined ? several : [['public_key', key], ...several];
}

function keysOf({ public_key: key, keys }: Line): ImportedClient['keys'] {
  if (key !== undefined && keys !== undefined) throw new FormatError('keys', 'exclude public_key');
  if (key !== undefined) return [{ key }];
  return keys?.map(({ public_key, label, not_before, expires_at }) => ({
    ...{ key: public_key, label },
    notBefore: not_before ?? undefined,
    expiresAt: expires_at ?? undefined,
  }));
}

export function toClient(line: Line, kind: ClientKind): ImportedClient {
  const { client_id: id, roles, labels, status, client_secret: secret } = line;
  return {
    ...{ id, kind, status, roles, labels, keys: keysOf(line) },
    mayMint: line.may_mint,
    tokenTtlSeconds: line.token_ttl_seconds ?? undefined,
    secret: secret && { ...secret, label: 'imported', expiresAt: undefined },
  };
}

/** Lines of that kind: how they are read. */
export interface LineKind {
  readonly kind: ClientKind;
  readonly schema: v.GenericSchema<unknown, Line>;
}

export const LINE_KINDS: readonly LineKind[] = [
  { kind: 'device', schema: deviceLine },
  { kind: 'service', schema: serviceLine },
];
