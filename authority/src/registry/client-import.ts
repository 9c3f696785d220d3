/**
 * Many clients registered at once, each as a whole or not at all, all in one transaction.
 *
 * What a line does not state (`undefined`) has its default in a new client and is not compared with one
 * that is there: the same line may come again, from an import that was broken off.
 *
 * Units   NumericDate; `tokenTtlSeconds` in seconds.
 * Errors  none for a client that cannot be registered: that is its outcome. `UnavailableError` when
 *         storage fails, and then nothing of the batch is there.
 * Source  DESIGN 9 (I9, I10, I11).
 *
 * @module
 */
import type { ClientId, RoleName } from '@latchkey/shared';
import type { NewClientKey, NewClientSecret, Reach } from './lifecycle.js';
import type { ClientKind, ClientStatus, Labels } from './registry.js';

/** Clients of one batch at most. */
export const MAX_IMPORT_CLIENTS = 1000;

export interface ImportedClient {
  readonly id: ClientId;
  readonly kind: ClientKind;
  /** Default `active`. */
  readonly status?: ClientStatus | undefined;
  readonly roles?: readonly RoleName[] | undefined;
  readonly labels?: Labels | undefined;
  /** The caller has checked that they are points of prime order. */
  readonly keys?: readonly NewClientKey[] | undefined;
  /** Of a service; one that it brings along from elsewhere. */
  readonly secret?: NewClientSecret | undefined;
  readonly mayMint?: boolean | undefined;
  readonly tokenTtlSeconds?: number | undefined;
}

/** `unchanged`: it is there already, and nothing that the line states is otherwise. */
export type ImportOutcome =
  | { readonly outcome: 'created' | 'unchanged'; readonly id: ClientId }
  | {
      readonly outcome: 'refused';
      readonly id: ClientId;
      /** What is at fault, and why. */
      readonly field: string;
      readonly problem: string;
    };

export interface ClientImport {
  /** In the order of the clients. With `isDryRun` nothing remains of it. */
  importClients(
    clients: readonly ImportedClient[],
    options?: { readonly reach?: Reach | undefined; readonly isDryRun?: boolean },
  ): Promise<readonly ImportOutcome[]>;
}
