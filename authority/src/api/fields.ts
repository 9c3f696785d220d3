/**
 * Schemas of the fields that several nouns of the management API share.
 *
 * Units   counts of items; NumericDate.
 * Errors  valibot issues, which become `errors` of the problem details.
 * Source  DESIGN 4 (labels, roles).
 *
 * @module
 */
import {
  type ClientId,
  FormatError,
  importPublicJwk,
  type Kid,
  type Label,
  type PermissionName,
  type PublicKey,
  parseClientId,
  parsedBy,
  parseKid,
  parseLabel,
  parsePermissionName,
  parsePublicKey,
  parseResourceId,
  parseRoleName,
  type ResourceId,
  type RoleName,
  TOKEN_MAX_LIFETIME_SECONDS,
  TOKEN_MIN_LIFETIME_SECONDS,
} from '@latchkey/shared';
import * as v from 'valibot';
import { documented, type JsonSchema } from './json-schema.js';

/** Bound of roles and labels of a client, permissions of a role and scopes of a permission. */
const MAX_ITEMS = 64;
const MAX_KEY_TEXT = 4096;
const NAME: JsonSchema = { pattern: '^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$' };

type Field<Output> = v.GenericSchema<unknown, Output>;

/** A string that one of our parsers reads. */
export function textField<Output>(
  parse: (value: string) => Output,
  jsonSchema: JsonSchema = {},
): Field<Output> {
  return v.pipe(v.string(), documented(jsonSchema), parsedBy(parse));
}

export const clientIdField: Field<ClientId> = textField((text) => parseClientId(text), NAME);
export const resourceField: Field<ResourceId> = textField((text) => parseResourceId(text), {
  format: 'uri',
  maxLength: 255,
});
export const permissionNameField: Field<PermissionName> = textField(
  (text) => parsePermissionName(text),
  NAME,
);
export const roleNameField: Field<RoleName> = textField((text) => parseRoleName(text), NAME);
export const kidField: Field<Kid> = textField((text) => parseKid(text), {
  pattern: '^[A-Za-z0-9_-]{43}$',
});

export function listOf<Item>(item: Field<Item>): Field<readonly Item[]> {
  return v.pipe(
    v.array(item),
    v.maxLength(MAX_ITEMS, `must not have more than ${MAX_ITEMS} items`),
  );
}

export const rolesField: Field<readonly RoleName[]> = listOf(roleNameField);

const isPlainObject = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Checks one member of a labels object; `null` stands for taking the label away. */
type ParseValue<Value> = (key: string, value: unknown) => Value;

function labelsBy<Value>(
  parse: ParseValue<Value>,
  jsonSchema: JsonSchema,
): Field<ReadonlyMap<string, Value>> {
  return v.pipe(
    v.unknown(),
    documented({ type: 'object', additionalProperties: jsonSchema, maxProperties: MAX_ITEMS }),
    v.rawTransform(({ dataset, addIssue, NEVER }): ReadonlyMap<string, Value> => {
      const input = dataset.value;
      if (!isPlainObject(input)) {
        addIssue({ message: 'must be an object of strings' });
        return NEVER;
      }
      const entries = Object.entries(input);
      if (entries.length > MAX_ITEMS) {
        addIssue({ message: `must not have more than ${MAX_ITEMS} labels` });
        return NEVER;
      }
      const labels = new Map<string, Value>();
      for (const [key, value] of entries) {
        try {
          labels.set(key, parse(key, value));
        } catch (error) {
          if (!(error instanceof FormatError)) throw error;
          const isKeyGood = error.field.includes('.');
          addIssue({
            message: error.problem,
            ...(isKeyGood && { path: [{ type: 'unknown', origin: 'value', input, key, value }] }),
          });
        }
      }
      return labels;
    }),
  );
}

/** A JSON object of strings as a `Map`, so that a key such as `constructor` is a key like others. */
export const labelsField: Field<ReadonlyMap<string, string>> = labelsBy(
  (key, value) => parseLabel(key, value).value,
  { type: 'string' },
);

/** Labels to set, and with `null` to take away (RFC 7396). */
export const labelsPatchField: Field<ReadonlyMap<string, string | null>> = labelsBy(
  (key, value) => (value === null ? parseLabel(key, 'x') && null : parseLabel(key, value).value),
  { type: ['string', 'null'] },
);

/** One label, `{ "key": "site", "value": "berlin" }`. */
export const labelField: Field<Label> = v.pipe(
  v.strictObject({ key: v.string(), value: v.string() }),
  v.rawTransform(({ dataset, addIssue, NEVER }): Label => {
    try {
      return parseLabel(dataset.value.key, dataset.value.value);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      addIssue({ message: error.problem });
      return NEVER;
    }
  }),
);

/** A public JWK, or any text form of a public key, with all checks of a registration (I9). */
export const publicKeyField: Field<PublicKey> = v.pipe(
  v.unknown(),
  documented({
    anyOf: [
      {
        type: 'object',
        properties: { kty: { const: 'OKP' }, crv: { const: 'Ed25519' }, x: { type: 'string' } },
        required: ['kty', 'crv', 'x'],
      },
      { type: 'string', maxLength: MAX_KEY_TEXT },
    ],
    description: 'Ed25519: a JWK, or as text PEM, an OpenSSH line, hex or base64',
  }),
  v.rawTransform(({ dataset, addIssue, NEVER }): PublicKey => {
    const { value } = dataset;
    try {
      if (typeof value !== 'string') return importPublicJwk(value);
      if (value.length <= MAX_KEY_TEXT) return parsePublicKey(value);
      addIssue({ message: `must not exceed ${MAX_KEY_TEXT} characters` });
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      addIssue({ message: error.problem });
    }
    return NEVER;
  }),
);

export function wholeNumberField(minimum: number, maximum: number): Field<number> {
  const message = `must be a whole number from ${minimum} to ${maximum}`;
  return v.pipe(
    v.number(message),
    v.integer(message),
    v.minValue(minimum, message),
    v.maxValue(maximum, message),
  );
}

export const tokenTtlField: Field<number> = wholeNumberField(
  TOKEN_MIN_LIFETIME_SECONDS,
  TOKEN_MAX_LIFETIME_SECONDS,
);

/** A NumericDate up to the year 9999. */
export const instantField: Field<number> = wholeNumberField(1, 253_402_300_799);

/** Words for people on a key or secret. */
export const labelTextField: Field<string> = v.pipe(
  v.string(),
  v.maxLength(64, 'must not exceed 64 characters'),
  v.regex(/^[^\p{Cc}\p{Cs}]*$/u, 'must not have control characters'),
);

/** The object without members that are undefined. */
export function defined<Members extends object>(
  members: Members,
): {
  readonly [Name in keyof Members]?: Exclude<Members[Name], undefined>;
} {
  return Object.fromEntries(
    Object.entries(members).filter(([, value]) => value !== undefined),
  ) as ReturnType<typeof defined<Members>>;
}
