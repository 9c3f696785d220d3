/**
 * Lets connections finish what they began, before the broker ends.
 *
 * Nothing more is taken in: what the broker has taken in is handled and answered, and then its side of
 * the connection ends, behind the last answer. What arrives meanwhile was never acknowledged, so its
 * sender has it still; it is read and thrown away, because a connection that is closed with bytes unread
 * is reset, and a reset overtakes answers on their way.
 *
 * Units   milliseconds.
 * Errors  none.
 * Source  Aedes 1.2.0 and 2.0.0-beta.1 `lib/client.js` (`nextBatch`); RFC 9112 9.6 (closing in stages).
 *
 * @module
 */
import type { Duplex } from 'node:stream';
import type { Clock } from '@latchkey/shared';

/** What Aedes hangs on a connection, and how it counts the packets that it handles. */
interface ConnectionState {
  readonly connecting: boolean;
  readonly connected: boolean;
  readonly closed: boolean;
  readonly _parsingBatch: number;
}

type Connection = Duplex & { readonly client?: ConnectionState };

const LOOK_MS = 10;
/** For the other side to end as well; most do at once. */
const LINGER_MS = 500;

/** Whether a packet of this connection is being handled, or its answer is not sent yet. */
function isBusy({ client, destroyed, writableLength }: Connection): boolean {
  if (destroyed || client === undefined || client.closed) return false;
  if (!client.connecting && !client.connected) return false; // no CONNECT yet: nothing is owed
  return client._parsingBatch > 0 || writableLength > 0;
}

/** From now on the broker gets nothing from this connection. */
function stopReading(connection: Connection): void {
  Object.defineProperty(connection, 'read', { value: () => null, configurable: true });
}

function endBehindAnswers(connection: Connection): void {
  connection.end();
  connection.removeAllListeners('readable');
  delete (connection as { read?: unknown }).read;
  connection.resume();
}

/**
 * Resolves when every connection has ended, or when the time is over; those left then are the caller's.
 * Answers with how many were still busy.
 */
export async function drain(
  connections: ReadonlySet<Duplex>,
  deps: { readonly clock: Clock; readonly timeoutMs: number },
): Promise<number> {
  const { clock, timeoutMs } = deps;
  const busy = new Set<Connection>(connections);
  for (const connection of busy) stopReading(connection);
  const sweep = (): void => {
    for (const connection of busy) {
      if (isBusy(connection)) continue;
      busy.delete(connection);
      endBehindAnswers(connection);
    }
  };
  sweep();
  let waitedMs = 0; // counted, because the time of day may jump
  for (; busy.size > 0 && waitedMs < timeoutMs; waitedMs += LOOK_MS) {
    await clock.sleep(LOOK_MS);
    sweep();
  }
  const lingerUntilMs = Math.min(timeoutMs, waitedMs + LINGER_MS);
  for (; connections.size > 0 && waitedMs < lingerUntilMs; waitedMs += LOOK_MS) {
    await clock.sleep(LOOK_MS);
  }
  return busy.size;
}
