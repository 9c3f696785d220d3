/**
 * Keys of clients in SQLite: added, removed, and replaced by a rotation.
 *
 * Units   NumericDate.
 * Errors  `ConflictError` for a key that is or was another client's, for the last key, and for a
 *         rotation that is or is not under way; `MissingError`, and those of `ClientChanges`.
 * Source  DESIGN 5 and 9 (I9); RFC 7638 (`kid`).
 *
 * @module
 */
import type { ClientId, Clock, Kid } from '@latchkey/shared';
import type { Database } from 'better-sqlite3';
import { type Condition, type Ending, MissingError, type NewClientKey } from '../lifecycle.js';
import { type Client, ConflictError } from '../registry.js';
import type { ClientChanges } from './client-changes.js';

/** Bound of the keys of one client. */
const MAX_KEYS = 16;

export interface ClientKeys {
  /** Binds a key to a client that exists. For use in a transaction. */
  insert(id: ClientId, key: NewClientKey): void;
  /** Refuses a key that is or was somebody's. */
  checkFree(kid: Kid): void;
  add(id: ClientId, key: NewClientKey, condition?: Condition): Client;
  remove(id: ClientId, kid: Kid, options?: Condition & { readonly isForced?: boolean }): Client;
  startRotation(
    id: ClientId,
    rotation: NewClientKey & { readonly oldKid?: Kid | undefined },
    condition?: Condition,
  ): Client;
  endRotation(id: ClientId, ending: Ending, condition?: Condition): Client;
}

interface InsertParameters {
  readonly kid: Kid;
  readonly client: ClientId;
  readonly x: string;
  readonly label: string;
  readonly now: number;
  readonly notBefore: number | null;
  readonly expiresAt: number | null;
}

function chooseOld(client: Client, oldKid: Kid | undefined): Kid {
  const [first, ...others] = client.keys;
  if (oldKid !== undefined) {
    if (client.keys.some(({ kid }) => kid === oldKid)) return oldKid;
    throw new MissingError('key');
  }
  if (first === undefined) throw new ConflictError('keys', 'are none yet: add one instead');
  if (others.length > 0) throw new ConflictError('keys', 'are several: say which one to replace');
  return first.kid;
}

function refuseTaken(): never {
  throw new ConflictError('public_key', 'belongs to a client already, or did so before');
}

export function createClientKeys(deps: {
  readonly db: Database;
  readonly clock: Clock;
  readonly changes: ClientChanges;
}): ClientKeys {
  const { db, clock, changes } = deps;
  const insertOwner = db.prepare<{ kid: Kid; client: ClientId }>(
    'INSERT INTO key_owner (kid, client) VALUES (@kid, @client) ON CONFLICT DO NOTHING',
  );
  const selectOwner = db.prepare<[string], { readonly client: ClientId | null }>(
    'SELECT client FROM key_owner WHERE kid = ?',
  );
  const insertKey = db.prepare<InsertParameters>(
    `INSERT INTO client_key (kid, client, x, label, created_at, not_before, expires_at)
     VALUES (@kid, @client, @x, @label, @now, @notBefore, @expiresAt) ON CONFLICT DO NOTHING`,
  );
  const countKeys = db.prepare<[string], { readonly count: number }>(
    'SELECT count(*) AS count FROM client_key WHERE client = ?',
  );
  const deleteKey = db.prepare<{ kid: Kid; client: ClientId }>(
    'DELETE FROM client_key WHERE kid = @kid AND client = @client',
  );
  const insertRotation = db.prepare<{ client: ClientId; old: Kid; new: Kid; now: number }>(
    `INSERT INTO key_rotation (client, old_kid, new_kid, started_at)
     VALUES (@client, @old, @new, @now)`,
  );
  const deleteRotation = db.prepare<[string]>('DELETE FROM key_rotation WHERE client = ?');

  const insert = (client: ClientId, newKey: NewClientKey): void => {
    const { key, label = '', notBefore, expiresAt } = newKey;
    const { kid, jwk } = key;
    const isNew = insertOwner.run({ kid, client }).changes === 1;
    const isOwn = isNew || selectOwner.get(kid)?.client === client;
    const row = { kid, client, x: jwk.x, label, now: clock.now() };
    const times = { notBefore: notBefore ?? null, expiresAt: expiresAt ?? null };
    if (!isOwn || insertKey.run({ ...row, ...times }).changes === 0) {
      refuseTaken();
    }
    if ((countKeys.get(client)?.count ?? 0) > MAX_KEYS) {
      throw new ConflictError('keys', `must not be more than ${MAX_KEYS}`);
    }
  };

  const refuseLast = (client: Client, isForced: boolean): void => {
    if (client.keys.length > 1 || client.secrets.length > 0 || isForced) return;
    throw new ConflictError(
      'kid',
      'is the last key, without which the client is shut out: force it',
    );
  };

  return {
    insert,
    checkFree: (kid) => {
      if (selectOwner.get(kid) !== undefined) refuseTaken();
    },
    add: (id, key, condition) => changes.change(id, condition, () => insert(id, key)),
    remove: (id, kid, options) =>
      changes.change(id, options, (client) => {
        if (!client.keys.some((key) => key.kid === kid)) throw new MissingError('key');
        const { keyRotation } = client;
        if (keyRotation !== undefined && [keyRotation.old, keyRotation.new].includes(kid)) {
          throw new ConflictError('kid', 'is part of a rotation: finish it or cancel it');
        }
        refuseLast(client, options?.isForced ?? false);
        deleteKey.run({ kid, client: id });
      }),
    startRotation: (id, { oldKid, ...newKey }, condition) =>
      changes.change(id, condition, (client) => {
        if (client.keyRotation !== undefined) {
          throw new ConflictError('rotation', 'is under way: finish it or cancel it');
        }
        const old = chooseOld(client, oldKid);
        insert(id, newKey);
        insertRotation.run({ client: id, old, new: newKey.key.kid, now: clock.now() });
      }),
    endRotation: (id, ending, condition) =>
      changes.change(id, condition, ({ keyRotation }) => {
        if (keyRotation === undefined) throw new ConflictError('rotation', 'is not under way');
        deleteRotation.run(id);
        deleteKey.run({ kid: ending === 'finish' ? keyRotation.old : keyRotation.new, client: id });
      }),
  };
}
