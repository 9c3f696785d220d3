/**
 * Summarizes the fleet by one query over SQLite, so that its numbers fit together.
 *
 * It reads every device that the operator sees, and the authority answers nobody else meanwhile: the
 * summary is for people who look, not for a monitor that asks every few seconds.
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

type Facet = 'status' | 'role' | 'label' | 'no-key' | 'old-key';

interface Row {
  readonly facet: Facet;
  /** `null`: the devices in no group. */
  readonly name: string | null;
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

const ALL_DEVICES = `client WHERE kind = 'device'`;
const LIMITED_DEVICES = `client_label INDEXED BY client_label_by_value
   CROSS JOIN client ON client.id = client_label.client
  WHERE key = @limitKey AND value = @limitValue AND kind = 'device'`;

/** The devices in no group, then the largest groups; `count(name) OVER ()` counts before the limit cuts. */
const largest = (facet: Facet, name: string, from: string): string =>
  `SELECT * FROM (
     SELECT '${facet}' AS facet, name, devices, count(name) OVER () AS groups
       FROM (SELECT ${name} AS name, count(*) AS devices FROM ${from} GROUP BY ${name})
      ORDER BY name IS NOT NULL, devices DESC, name LIMIT ${MAX_GROUPS + 1})`;

const single = (facet: Facet, condition: string): string =>
  `SELECT '${facet}', NULL, count(*), 0 FROM device WHERE status <> 'revoked' AND ${condition}`;

const summaryOf = (devices: string): string => `
WITH device AS MATERIALIZED (
  SELECT id, status, (SELECT min(created_at) FROM client_key WHERE client = client.id) AS key_at
    FROM ${devices})
${[
  largest('status', 'status', 'device'),
  largest('role', 'role', 'device LEFT JOIN client_role ON client = device.id'),
  largest(
    'label',
    'value',
    `device LEFT JOIN client_label ON client = device.id AND key = @labelKey
      WHERE @labelKey IS NOT NULL`,
  ),
  single('no-key', 'key_at IS NULL'),
  single('old-key', 'key_at <= @oldKeysUntil'),
].join('\nUNION ALL\n')}`;

export function createFleetSummary({
  db,
}: {
  readonly db: Database;
}): (request: SummaryRequest, reach?: Reach) => FleetSummary {
  const selectAll = db.prepare<Parameters, Row>(summaryOf(ALL_DEVICES));
  const selectLimited = db.prepare<Parameters, Row>(summaryOf(LIMITED_DEVICES));
  return ({ labelKey, oldKeysUntil }, reach) => {
    const select = reach?.label === undefined ? selectAll : selectLimited;
    const rows = select.all({
      ...{ labelKey: labelKey ?? null, oldKeysUntil },
      limitKey: reach?.label?.key ?? null,
      limitValue: reach?.label?.value ?? null,
    });
    const of = (facet: Facet) => rows.filter((row) => row.facet === facet);
    const countOf = (facet: Facet) => of(facet)[0]?.devices ?? 0;
    const grouping = (facet: Facet): Grouping => {
      const found = of(facet);
      const groups = found
        .flatMap(({ name, devices }) => (name === null ? [] : [{ name, devices }]))
        .slice(0, MAX_GROUPS);
      return {
        groups,
        moreGroups: (found[0]?.groups ?? 0) - groups.length,
        without: found.find(({ name }) => name === null)?.devices ?? 0,
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
      byRole: grouping('role'),
      byLabel: labelKey === undefined ? undefined : grouping('label'),
      withoutKey: countOf('no-key'),
      withOldKey: countOf('old-key'),
    };
  };
}
