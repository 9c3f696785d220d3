/**
 * Secrets of services in SQLite: only their hashes, two at once at most.
 *
 * Units   NumericDate.
 * Errors  `ConflictError` for a device, for a third secret, and for a rotation that is or is not under
 *         way; `MissingError`, and those of `ClientChanges`.
 * Source  DESIGN 5; RFC 6749 2.3.1.
 *
 * @module
 */
import { timingSafeEqual } from 'node:crypto';
import type { ClientId, Clock } from '@latchkey/shared';
import type { Database } from 'better-sqlite3';
import { hashClientSecret } from '../client-secret.js';
import {
  type ClientSecret,
  type Condition,
  type Ending,
  MissingError,
  type NewClientSecret,
} from '../lifecycle.js';
import { type Client, ConflictError } from '../registry.js';
import type { ClientChanges } from './client-changes.js';

const MAX_SECRETS = 2;

export interface ClientSecrets {
  /** The first secret of a service that was just registered. For use in a transaction. */
  insert(id: ClientId, secret: NewClientSecret): void;
  /** Refuses a secret that is one of any client. */
  checkFree(secret: NewClientSecret): void;
  add(id: ClientId, secret: NewClientSecret, condition?: Condition): ClientSecret;
  remove(id: ClientId, secret: number, condition?: Condition): Client;
  startRotation(id: ClientId, secret: NewClientSecret, condition?: Condition): ClientSecret;
  endRotation(id: ClientId, ending: Ending, condition?: Condition): Client;
  verify(id: ClientId, secret: string): boolean;
}

/** Stands for a secret that is not there, so that every check compares as many hashes. */
const NO_HASH = Buffer.alloc(32);

function refuseTaken(): never {
  throw new ConflictError('client_secret', 'is one of a client already');
}

export function createClientSecrets(deps: {
  readonly db: Database;
  readonly clock: Clock;
  readonly changes: ClientChanges;
}): ClientSecrets {
  const { db, clock, changes } = deps;
  const insertSecret = db.prepare<
    Omit<NewClientSecret, 'expiresAt'> & {
      client: ClientId;
      now: number;
      expiresAt: number | null;
    },
    { readonly id: number }
  >(
    `INSERT INTO client_secret (client, hash, prefix, last_four, label, created_at, expires_at)
     VALUES (@client, @hash, @prefix, @lastFour, @label, @now, @expiresAt)
     ON CONFLICT DO NOTHING RETURNING id`,
  );
  const selectByHash = db.prepare<[Uint8Array]>('SELECT 1 FROM client_secret WHERE hash = ?');
  const deleteSecret = db.prepare<{ id: number; client: ClientId }>(
    'DELETE FROM client_secret WHERE id = @id AND client = @client',
  );
  const insertRotation = db.prepare<{ client: ClientId; old: number; new: number; now: number }>(
    `INSERT INTO secret_rotation (client, old_id, new_id, started_at)
     VALUES (@client, @old, @new, @now)`,
  );
  const deleteRotation = db.prepare<[string]>('DELETE FROM secret_rotation WHERE client = ?');
  const selectHashes = db.prepare<{ id: ClientId; now: number }, { readonly hash: Buffer }>(
    `SELECT hash FROM client_secret JOIN client ON client.id = client_secret.client
      WHERE client.id = @id AND client.status = 'active'
        AND (expires_at IS NULL OR expires_at > @now) LIMIT ${MAX_SECRETS}`,
  );

  const isExpired = ({ expiresAt }: ClientSecret): boolean =>
    expiresAt !== undefined && expiresAt <= clock.now();

  const refuseDevice = ({ kind }: Client): void => {
    if (kind === 'service') return;
    throw new ConflictError('client_id', 'is a device, which has keys and no secrets');
  };

  const refuseInRotation = ({ secretRotation }: Client): void => {
    if (secretRotation === undefined) return;
    throw new ConflictError('rotation', 'is under way: finish it or cancel it');
  };

  const insertRow = (client: ClientId, { expiresAt, ...secret }: NewClientSecret): number => {
    const row = { ...secret, client, now: clock.now(), expiresAt: expiresAt ?? null };
    const inserted = insertSecret.get(row);
    if (inserted === undefined) refuseTaken();
    return (inserted as { readonly id: number }).id;
  };

  /** Makes room of what has expired, then adds. */
  const insert = (client: Client, secret: NewClientSecret): number => {
    const expired = client.secrets.filter(isExpired);
    for (const { id } of expired) deleteSecret.run({ id, client: client.id });
    if (client.secrets.length - expired.length >= MAX_SECRETS) {
      throw new ConflictError('secrets', `must not be more than ${MAX_SECRETS}: remove one`);
    }
    return insertRow(client.id, secret);
  };

  /** Runs a change that adds a secret, and returns that one. */
  const adding = (
    id: ClientId,
    condition: Condition | undefined,
    work: (client: Client) => number,
  ): ClientSecret => {
    let added: number | undefined;
    const after = changes.change(id, condition, (client) => {
      refuseDevice(client);
      refuseInRotation(client);
      added = work(client);
    });
    return after.secrets.find((secret) => secret.id === added) as ClientSecret;
  };

  return {
    insert: insertRow,
    checkFree: ({ hash }) => {
      if (selectByHash.get(hash) !== undefined) refuseTaken();
    },
    add: (id, secret, condition) => adding(id, condition, (client) => insert(client, secret)),
    remove: (id, secretId, condition) =>
      changes.change(id, condition, (client) => {
        if (!client.secrets.some((secret) => secret.id === secretId))
          throw new MissingError('secret');
        refuseInRotation(client);
        deleteSecret.run({ id: secretId, client: id });
      }),
    startRotation: (id, secret, condition) =>
      adding(id, condition, (client) => {
        const [old, ...others] = client.secrets.filter((one) => !isExpired(one));
        if (old === undefined)
          throw new ConflictError('secrets', 'are none yet: create one instead');
        if (others.length > 0) throw new ConflictError('secrets', 'are two: remove one first');
        const added = insert(client, secret);
        insertRotation.run({ client: id, old: old.id, new: added, now: clock.now() });
        return added;
      }),
    endRotation: (id, ending, condition) =>
      changes.change(id, condition, ({ secretRotation }) => {
        if (secretRotation === undefined) throw new ConflictError('rotation', 'is not under way');
        deleteRotation.run(id);
        const ended = ending === 'finish' ? secretRotation.old : secretRotation.new;
        deleteSecret.run({ id: ended, client: id });
      }),
    verify: (id, secret) => {
      const presented = hashClientSecret(secret);
      const rows = selectHashes.all({ id, now: clock.now() });
      let isValid = false;
      for (let i = 0; i < MAX_SECRETS; i += 1) {
        const isEqual = timingSafeEqual(presented, rows[i]?.hash ?? NO_HASH);
        isValid = (isEqual && i < rows.length) || isValid;
      }
      return isValid;
    },
  };
}
