/**
 * Reads enrollments from SQLite, one or in pages, with roles and labels.
 *
 * Units   NumericDate.
 * Errors  none.
 * Source  DESIGN 4 (Enrollment).
 *
 * @module
 */
import type { ClientId, ResourceId, RoleName } from '@latchkey/shared';
import type { Database } from 'better-sqlite3';
import type { Reach } from '../lifecycle.js';
import type { Enrollment, Page, PageRequest } from '../registry.js';
import { isWithin } from './client-reader.js';
import { toPage } from './pages.js';

export interface EnrollmentRow {
  readonly id: number;
  readonly client_id: ClientId | null;
  readonly id_pattern: string | null;
  readonly uses: number;
  readonly uses_left: number;
  readonly created_at: number;
  readonly expires_at: number;
  readonly revoked_at: number | null;
  readonly version: number;
  readonly reach_key: string | null;
  readonly reach_value: string | null;
  readonly reach_except_roles_at: ResourceId | null;
}

export interface EnrollmentReader {
  /** With a reach, `undefined` also for one that is out of it. */
  enrollment(id: number, reach?: Reach): Enrollment | undefined;
  list(page: PageRequest, reach?: Reach): Page<Enrollment>;
  toEnrollment(row: EnrollmentRow): Enrollment;
}

/** What the maker of a code could reach. */
export const reachOf = (row: EnrollmentRow): Reach => ({
  label:
    row.reach_key === null || row.reach_value === null
      ? undefined
      : { key: row.reach_key, value: row.reach_value },
  exceptRolesAt: row.reach_except_roles_at ?? undefined,
});

export function createEnrollmentReader({ db }: { readonly db: Database }): EnrollmentReader {
  const selectById = db.prepare<[number], EnrollmentRow>('SELECT * FROM enrollment WHERE id = ?');
  const selectPage = db.prepare<{ after: number; limit: number }, EnrollmentRow>(
    'SELECT * FROM enrollment WHERE id > @after ORDER BY id LIMIT @limit',
  );
  const selectPageWithin = db.prepare<
    { after: number; limit: number; key: string; value: string },
    EnrollmentRow
  >(
    `SELECT enrollment.* FROM enrollment_label INDEXED BY enrollment_label_by_value
       CROSS JOIN enrollment ON enrollment.id = enrollment_label.enrollment
      WHERE enrollment_label.key = @key AND enrollment_label.value = @value
        AND enrollment_label.enrollment > @after
      ORDER BY enrollment_label.enrollment LIMIT @limit`,
  );
  const selectRoles = db.prepare<[number], { readonly role: RoleName }>(
    'SELECT role FROM enrollment_role WHERE enrollment = ? ORDER BY role',
  );
  const selectLabels = db.prepare<[number], { readonly key: string; readonly value: string }>(
    'SELECT key, value FROM enrollment_label WHERE enrollment = ? ORDER BY key',
  );

  const toEnrollment = (row: EnrollmentRow): Enrollment => ({
    id: row.id,
    target:
      row.client_id !== null
        ? { clientId: row.client_id }
        : { idPattern: row.id_pattern as string },
    roles: selectRoles.all(row.id).map(({ role }) => role),
    labels: new Map(selectLabels.all(row.id).map(({ key, value }) => [key, value])),
    uses: row.uses,
    usesLeft: row.uses_left,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    revokedAt: row.revoked_at ?? undefined,
    version: row.version,
  });

  return {
    enrollment: (id, reach) => {
      const row = selectById.get(id);
      const enrollment = row && toEnrollment(row);
      return enrollment !== undefined && isWithin(reach, enrollment.labels)
        ? enrollment
        : undefined;
    },
    list: ({ after, limit }, reach) => {
      const page = { after: Number(after ?? 0), limit: limit + 1 };
      const rows =
        reach?.label === undefined
          ? selectPage.all(page)
          : selectPageWithin.all({ ...page, ...reach.label });
      return toPage(rows, limit, toEnrollment, (row) => String(row.id));
    },
    toEnrollment,
  };
}
