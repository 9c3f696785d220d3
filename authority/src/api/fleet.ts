/**
 * `GET /api/v1/fleet/summary`: the fleet in numbers, or the part of it that the operator sees.
 *
 * Units   `key_age_seconds` in seconds, 1 to 10 years; counts of devices.
 * Errors  problem details.
 * Source  DESIGN 4.
 *
 * @module
 */
import { type Clock, parseLabel } from '@latchkey/shared';
import * as v from 'valibot';
import { type Grouping, MAX_GROUPS } from '../registry/fleet-summary.js';
import type { Registry } from '../registry/registry.js';
import { textField } from './fields.js';
import { type Json, type Route, route } from './route.js';

const YEAR_SECONDS = 365 * 86_400;
const MAX_AGE_SECONDS = 10 * YEAR_SECONDS;
const AGE_PROBLEM = `must be a whole number from 1 to ${MAX_AGE_SECONDS}`;

const query = v.strictObject({
  by: v.optional(textField((text) => parseLabel(text, 'x', 'by').key, { examples: ['site'] })),
  key_age_seconds: v.optional(
    v.pipe(
      v.string(AGE_PROBLEM),
      v.regex(/^[1-9][0-9]{0,8}$/, AGE_PROBLEM),
      v.transform(Number),
      v.maxValue(MAX_AGE_SECONDS, AGE_PROBLEM),
    ),
    String(YEAR_SECONDS),
  ),
});

const count = v.pipe(v.number(), v.integer());
const groupingEntries = {
  groups: v.pipe(
    v.array(v.strictObject({ name: v.string(), devices: count })),
    v.maxLength(MAX_GROUPS),
    v.description('The largest first'),
  ),
  more_groups: v.pipe(count, v.description('Groups that are left out')),
  without: v.pipe(count, v.description('Devices in no group')),
};
const shown = v.strictObject({
  devices: count,
  by_status: v.strictObject({ active: count, suspended: count, revoked: count }),
  by_role: v.strictObject(groupingEntries),
  by_label: v.nullable(v.strictObject({ key: v.string(), ...groupingEntries })),
  without_key: v.pipe(count, v.description('Devices that wait for a key; not the revoked ones')),
  with_old_key: v.strictObject({ age_seconds: count, devices: count }),
});

const groupingToJson = ({ groups, moreGroups, without }: Grouping): Json => ({
  groups,
  more_groups: moreGroups,
  without,
});

export function fleetRoutes(deps: {
  readonly registry: Registry;
  readonly clock: Clock;
}): readonly Route[] {
  const { registry, clock } = deps;
  return [
    route({
      method: 'GET',
      path: '/fleet/summary',
      needs: { scope: 'clients:read', concerns: 'clients' },
      summary:
        'Count devices by status, role and a label, and those without a key or with an old one',
      query,
      answer: shown,
      success: 200,
      handle: async ({ operator, query: { by, key_age_seconds: ageSeconds } }) => {
        const asked = { labelKey: by, oldKeysUntil: clock.now() - ageSeconds };
        const summary = await registry.summarizeFleet(asked, operator.reach);
        const { byRole, byLabel } = summary;
        return {
          body: {
            devices: summary.devices,
            by_status: summary.byStatus,
            by_role: groupingToJson(byRole),
            by_label: byLabel === undefined ? null : { key: by, ...groupingToJson(byLabel) },
            without_key: summary.withoutKey,
            with_old_key: { age_seconds: ageSeconds, devices: summary.withOldKey },
          },
        };
      },
    }),
  ];
}
