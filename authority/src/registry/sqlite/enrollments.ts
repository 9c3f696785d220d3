/**
 * Enrollment codes in SQLite: made by an operator, redeemed by devices.
 *
 * Units   NumericDate.
 * Errors  `InvalidGrantError` (`invalid_grant`, 400): one message for every code or client id that is
 *         refused, so that a caller cannot probe for either. `detail` is for the log only.
 * Source  DESIGN 4 (Enrollment), 9 (I6, I7, I9).
 *
 * @module
 */
import {
  type ClientId,
  type Clock,
  FormatError,
  InvalidGrantError,
  type RoleName,
} from '@latchkey/shared';
import type { Database } from 'better-sqlite3';
import { matchesIdPattern } from '../id-pattern.js';
import { type Condition, MissingError, OutOfReachError, type Reach } from '../lifecycle.js';
import {
  ConflictError,
  type Enrollment,
  type EnrollmentTarget,
  type NewEnrollment,
  type Page,
  type PageRequest,
  type Redemption,
} from '../registry.js';
import type { ClientChanges } from './client-changes.js';
import type { ClientKeys } from './client-keys.js';
import type { ClientReader } from './client-reader.js';
import type { Clients } from './clients.js';
import { checkVersion } from './condition.js';
import { createEnrollmentReader, type EnrollmentRow, reachOf } from './enrollment-reader.js';
import type { RoleLabels } from './role-labels.js';

export interface Enrollments {
  create(enrollment: NewEnrollment, reach?: Reach): Enrollment;
  /** With a reach, `undefined` also for one that is out of it. */
  enrollment(id: number, reach?: Reach): Enrollment | undefined;
  list(page: PageRequest, reach?: Reach): Page<Enrollment>;
  revoke(id: number, condition?: Condition): Enrollment;
  redeem(redemption: Redemption): { readonly isNew: boolean };
}

interface InsertParameters
  extends Omit<EnrollmentRow, 'id' | 'uses_left' | 'revoked_at' | 'version'> {
  readonly code_hash: string;
}

function refuse(detail: string): never {
  throw new InvalidGrantError('the enrollment code is not valid for this client', { detail });
}

const isFor = (target: EnrollmentTarget, id: ClientId): boolean =>
  'clientId' in target ? target.clientId === id : matchesIdPattern(target.idPattern, id);

export function createEnrollments(deps: {
  readonly db: Database;
  readonly clock: Clock;
  readonly clients: Clients;
  readonly reader: ClientReader;
  readonly changes: ClientChanges;
  readonly clientKeys: ClientKeys;
  readonly roleLabels: RoleLabels;
}): Enrollments {
  const { db, clock, clients, reader, changes, clientKeys, roleLabels } = deps;
  const enrollments = createEnrollmentReader({ db });
  const insert = db.prepare<InsertParameters, { readonly id: number }>(
    `INSERT INTO enrollment (code_hash, client_id, id_pattern, uses, uses_left, created_at, expires_at,
                             reach_key, reach_value, reach_except_roles_at)
     VALUES (@code_hash, @client_id, @id_pattern, @uses, @uses, @created_at, @expires_at,
             @reach_key, @reach_value, @reach_except_roles_at)
     RETURNING id`,
  );
  const insertRole = db.prepare<{ id: number; role: RoleName }>(
    'INSERT INTO enrollment_role (enrollment, role) VALUES (@id, @role) ON CONFLICT DO NOTHING',
  );
  const insertLabel = db.prepare<{ id: number; key: string; value: string }>(
    'INSERT INTO enrollment_label (enrollment, key, value) VALUES (@id, @key, @value)',
  );
  const selectByCode = db.prepare<[string], EnrollmentRow>(
    'SELECT * FROM enrollment WHERE code_hash = ?',
  );
  // One statement checks and spends, so that two devices cannot both have the last use (I6).
  const spend = db.prepare<{ id: number; now: number }, { readonly id: number }>(
    `UPDATE enrollment SET uses_left = uses_left - 1, version = version + 1
      WHERE id = @id AND uses_left > 0 AND expires_at > @now AND revoked_at IS NULL RETURNING id`,
  );
  const setRevoked = db.prepare<{ id: number; now: number }>(
    `UPDATE enrollment SET revoked_at = @now, version = version + 1
      WHERE id = @id AND revoked_at IS NULL`,
  );
  const insertUse = db.prepare<{ id: number; client: ClientId; kid: string; now: number }>(
    'INSERT INTO enrollment_use (enrollment, client, kid, used_at) VALUES (@id, @client, @kid, @now)',
  );
  const selectUse = db.prepare<{ id: number; client: ClientId; kid: string }, { used_at: number }>(
    'SELECT used_at FROM enrollment_use WHERE enrollment = @id AND client = @client AND kid = @kid',
  );

  const create = db.transaction((enrollment: NewEnrollment, reach?: Reach): Enrollment => {
    const { codeHash, target, roles, labels, uses, expiresAt } = enrollment;
    const clientId = 'clientId' in target ? target.clientId : null;
    const existing = clientId === null ? undefined : reader.client(clientId);
    if (existing !== undefined && existing.kind !== 'device') {
      throw new ConflictError('client_id', 'is not that of a device');
    }
    changes.checkReach(reach, { roles, labels });
    if (existing !== undefined) changes.checkReach(reach, existing);
    roleLabels.checkRoles(roles, new Map([...(existing?.labels ?? []), ...labels]));
    const { id } = insert.get({
      code_hash: codeHash,
      client_id: clientId,
      id_pattern: 'idPattern' in target ? target.idPattern : null,
      uses,
      created_at: clock.now(),
      expires_at: expiresAt,
      reach_key: reach?.label?.key ?? null,
      reach_value: reach?.label?.value ?? null,
      reach_except_roles_at: reach?.exceptRolesAt ?? null,
    }) as { id: number };
    for (const role of roles) insertRole.run({ id, role });
    for (const [key, value] of labels) insertLabel.run({ id, key, value });
    return enrollments.enrollment(id) as Enrollment;
  });

  /** The client that a code may bind the key to: new, or a device that waits for its key. */
  const claimClient = ({ target }: Enrollment, reach: Reach, id: ClientId): void => {
    const existing = reader.client(id);
    if (existing === undefined) {
      clients.insert(id, 'device');
      return;
    }
    // A pattern must not take over a device that somebody registered (I7).
    if ('idPattern' in target) refuse('the client id is taken');
    if (existing.kind !== 'device') refuse('the client is not a device');
    if (existing.status !== 'active') refuse(`the device is ${existing.status}`);
    if (existing.keys.length > 0) refuse('the device has another key');
    // It may have been registered, or given a role, since the code was made.
    changes.checkReach(reach, existing);
  };

  const redeem = db.transaction((redemption: Redemption): { readonly isNew: boolean } => {
    const { codeHash, clientId, key } = redemption;
    const row = selectByCode.get(codeHash);
    if (row === undefined) return refuse('the code is unknown');
    const enrollment = enrollments.toEnrollment(row);
    const { id } = enrollment;
    const now = clock.now();
    if (!isFor(enrollment.target, clientId)) return refuse(`the code ${id} is for other clients`);
    const holder = reader.client(clientId);
    if (holder?.keys.some(({ kid }) => kid === key.kid)) {
      const { usesLeft, expiresAt, revokedAt } = enrollment;
      const isLive = usesLeft > 0 && expiresAt > now && revokedAt === undefined;
      const wasUsed = selectUse.get({ id, client: clientId, kid: key.kid }) !== undefined;
      if (!isLive && !wasUsed) return refuse(`the code ${id} is expired or spent`);
      if (holder.status !== 'active') return refuse(`the device is ${holder.status}`);
      return { isNew: false };
    }
    if (spend.get({ id, now }) === undefined) return refuse(`the code ${id} is expired or spent`);
    claimClient(enrollment, reachOf(row), clientId);
    clients.assign(clientId, enrollment.roles, enrollment.labels);
    clientKeys.insert(clientId, { key });
    changes.touch(clientId);
    insertUse.run({ id, client: clientId, kid: key.kid, now });
    return { isNew: true };
  });

  const revoke = db.transaction((id: number, condition?: Condition): Enrollment => {
    const before = enrollments.enrollment(id, condition?.reach);
    if (before === undefined) throw new MissingError('enrollment');
    checkVersion(before.version, condition);
    setRevoked.run({ id, now: clock.now() });
    return enrollments.enrollment(id) as Enrollment;
  });

  return {
    create: (enrollment, reach) => create.immediate(enrollment, reach),
    enrollment: enrollments.enrollment,
    list: enrollments.list,
    revoke: (id, condition) => revoke.immediate(id, condition),
    redeem: (redemption) => {
      try {
        return redeem.immediate(redemption);
      } catch (error) {
        // What rolled back for another reason, such as a key of another client, looks the same outside.
        const isRefusal = [ConflictError, FormatError, OutOfReachError].some(
          (kind) => error instanceof kind,
        );
        if (isRefusal) refuse((error as Error).message);
        throw error;
      }
    },
  };
}
