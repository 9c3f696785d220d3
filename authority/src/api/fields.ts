/**
 * Schemas of the fields that several nouns of the management API share.
 *
 * Units   counts of items.
 * Errors  valibot issues, which become `errors` of the problem details.
 * Source  DESIGN 4 (labels, roles).
 *
 * @module
 */
import {
  FormatError,
  importPublicJwk,
  type PublicKey,
  parsedBy,
  parseLabel,
  parseRoleName,
  type RoleName,
} from '@latchkey/shared';
import * as v from 'valibot';
import type { Labels } from '../registry/registry.js';

/** Bound of roles and labels of a client, permissions of a role and scopes of a permission. */
const MAX_ITEMS = 64;

export function listOf<Item>(
  parse: (value: string) => Item,
): v.GenericSchema<unknown, readonly Item[]> {
  return v.pipe(
    v.array(v.pipe(v.string(), parsedBy(parse))),
    v.maxLength(MAX_ITEMS, `must not have more than ${MAX_ITEMS} items`),
  );
}

export const rolesField: v.GenericSchema<unknown, readonly RoleName[]> = listOf((value) =>
  parseRoleName(value),
);

const isPlainObject = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A JSON object of strings as a `Map`, so that a key such as `constructor` is a key like others. */
export const labelsField: v.GenericSchema<unknown, Labels> = v.pipe(
  v.unknown(),
  v.rawTransform(({ dataset, addIssue, NEVER }): Labels => {
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
    const labels = new Map<string, string>();
    for (const [key, value] of entries) {
      try {
        const label = parseLabel(key, value);
        labels.set(label.key, label.value);
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

/** A public JWK, with all checks of a registration (I9). */
export const publicKeyField: v.GenericSchema<unknown, PublicKey> = v.pipe(
  v.unknown(),
  v.rawTransform(({ dataset, addIssue, NEVER }): PublicKey => {
    try {
      return importPublicJwk(dataset.value);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      addIssue({ message: error.problem });
      return NEVER;
    }
  }),
);

export function wholeNumberField(
  minimum: number,
  maximum: number,
): v.GenericSchema<unknown, number> {
  const message = `must be a whole number from ${minimum} to ${maximum}`;
  return v.pipe(
    v.number(message),
    v.integer(message),
    v.minValue(minimum, message),
    v.maxValue(maximum, message),
  );
}
