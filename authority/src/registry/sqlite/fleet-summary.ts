/**
 * Summarizes the fleet by one query over SQLite, so that its numbers fit together.
 *
 * Units   NumericDate.
 * Errors  none.
 * Source  https://sqlite.org/lang_with.html (MATERIALIZED), https://sqlite.org/windowfunctions.html
 *
 * @module
 */
import type { Database } from 'better-sqlite3';
import {
  type FleetSummary,
  type Grouping,
  MAX_GROUPS,
  type SummaryRequest,
} from '../fleet-summary.js';
import type { Reach } from '../lifecycle.js';

type Facet = 'status' | 'role' | 'no-role' | 'label' | 'no-label' | 'no-key' | 'old-key';

interface Row {
  readonly facet: Facet;
  readonly name: string;
  readonly devices: number;
  /** Groups of the facet, those that are left out among them. */
  readonly groups: number;
}

interface Parameters {
  readonly labelKey: string | null;
  readonly oldKeysUntil: number;
  readonly limitKey: string | null;
  readonly limitValue: string | null;
}

/** Groups of `grouped`, the largest first. `count(*) OVER ()` counts them before the limit cuts. */
const largest = (facet: Facet, grouped: string): string =>
  `SELECT * FROM (
     SELECT '${facet}' AS facet, name, devices, count(*) OVER () AS groups FROM (${grouped})
      ORDER BY devices DESC, name LIMIT ${MAX_GROUPS})`;

const single = (facet: Facet, condition: string): string =>
  `SELECT '${facet}', '', count(*), 1 FROM device WHERE ${condition}`;

const SUMMARY = `
WITH device AS MATERIALIZED (
  SELECT id, status FROM client
   WHERE kind = 'device' AND (@limitKey IS NULL OR EXISTS (
     SELECT 1 FROM client_label
      WHERE client = client.id AND key = @limitKey AND value = @limitValue)))
${[
  largest('status', 'SELECT status AS name, count(*) AS devices FROM device GROUP BY status'),
  largest(
    'role',
    `SELECT role AS name, count(*) AS devices
       FROM device CROSS JOIN client_role ON client = device.id GROUP BY role`,
  ),
  single('no-role', 'NOT EXISTS (SELECT 1 FROM client_role WHERE client = device.id)'),
  largest(
    'label',
    `SELECT value AS name, count(*) AS devices
       FROM device CROSS JOIN client_label ON client = device.id AND key = @labelKey GROUP BY value`,
  ),
  single(
    'no-label',
    'NOT EXISTS (SELECT 1 FROM client_label WHERE client = device.id AND key = @labelKey)',
  ),
  single(
    'no-key',
    `status <> 'revoked' AND NOT EXISTS (SELECT 1 FROM client_key WHERE client = device.id)`,
  ),
  single(
    'old-key',
    `status <> 'revoked' AND EXISTS (
       SELECT 1 FROM client_key WHERE client = device.id AND created_at <= @oldKeysUntil)`,
  ),
].join('\nUNION ALL\n')}`;

export function createFleetSummary({
  db,
}: {
  readonly db: Database;
}): (request: SummaryRequest, reach?: Reach) => FleetSummary {
  const select = db.prepare<Parameters, Row>(SUMMARY);
  return ({ labelKey, oldKeysUntil }, reach) => {
    const rows = select.all({
      ...{ labelKey: labelKey ?? null, oldKeysUntil },
      limitKey: reach?.label?.key ?? null,
      limitValue: reach?.label?.value ?? null,
    });
    const of = (facet: Facet) => rows.filter((row) => row.facet === facet);
    const countOf = (facet: Facet) => of(facet)[0]?.devices ?? 0;
    const grouping = (facet: Facet, without: Facet): Grouping => {
      const groups = of(facet);
      return {
        groups: groups.map(({ name, devices }) => ({ name, devices })),
        moreGroups: (groups[0]?.groups ?? 0) - groups.length,
        without: countOf(without),
      };
    };
    const statuses = new Map(of('status').map(({ name, devices }) => [name, devices]));
    return {
      devices: [...statuses.values()].reduce((a, b) => a + b, 0),
      byStatus: {
        active: statuses.get('active') ?? 0,
        suspended: statuses.get('suspended') ?? 0,
        revoked: statuses.get('revoked') ?? 0,
      },
      byRole: grouping('role', 'no-role'),
      byLabel: labelKey === undefined ? undefined : grouping('label', 'no-label'),
      withoutKey: countOf('no-key'),
      withOldKey: countOf('old-key'),
    };
  };
}
