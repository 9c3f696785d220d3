/**
 * The messages of one lane in the order of their acceptance, read from the file a few at a time.
 *
 * Units   counts.
 * Errors  those of SQLite.
 * Source  DESIGN 7 (outbox); invariant I11.
 *
 * @module
 */
import type { Lane, OutboxFile, OutboxMessage } from './outbox-file.js';

/** Messages that are read together; as many are kept in memory beside those on their way. */
const READ_AHEAD = 32;

export interface OutboxLane {
  readonly lane: Lane;
  /** The next message; each once, until `rewind`. The file is asked only when it may have one. */
  take(): OutboxMessage | undefined;
  /** What was handed out and is still in the file is handed out again. */
  rewind(): void;
  /** A message was added to the file. */
  noteAccepted(sequence: number): void;
  /** These left the file, and are not handed out any more. */
  noteGone(gone: ReadonlySet<number>): void;
}

export function createOutboxLane(
  file: Pick<OutboxFile, 'next' | 'newest'>,
  lane: Lane,
): OutboxLane {
  let newest = file.newest(lane);
  let lastRead = 0;
  let ahead: OutboxMessage[] = [];
  return {
    lane,
    take: () => {
      if (ahead.length === 0 && lastRead < newest) {
        ahead = file.next(lane, lastRead, READ_AHEAD);
        lastRead = ahead.at(-1)?.sequence ?? newest;
      }
      return ahead.shift();
    },
    rewind: () => {
      lastRead = 0;
      ahead = [];
    },
    noteAccepted: (sequence) => {
      newest = sequence;
    },
    noteGone: (gone) => {
      ahead = ahead.filter(({ sequence }) => !gone.has(sequence));
    },
  };
}
