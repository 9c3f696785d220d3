/**
 * The outbox: messages that were accepted and that the broker has not acknowledged yet, in SQLite.
 *
 * Whoever hands in a message gets its answer once the message survives a power cut. Messages that come
 * at once, or shortly after another, share one commit, and the removal of acknowledged ones goes along
 * with it, so that an SD card sees few writes. A power cut may send acknowledged messages again, in the
 * same order, and loses none.
 *
 * Units   sizes in bytes of topic and payload; NumericDate.
 * Errors  `OutboxFullError` when the disk does not take the message, or it is larger than the outbox.
 * Source  DESIGN 7 and 8; invariants I10 and I11; https://sqlite.org/wal.html.
 *
 * @module
 */
import {
  type Clock,
  type Logger,
  matches,
  type NumericDate,
  parseTopicName,
  type TopicFilter,
} from '@latchkey/shared';
import type { Message } from './mqtt-connection.js';
import { OutboxFullError } from './mqtt-errors.js';
import { LANES, type Lane, type OutboxMessage, openOutboxFile } from './outbox-file.js';
import { createOutboxLane } from './outbox-lane.js';

export type { Lane, OutboxMessage } from './outbox-file.js';

export interface OutboxLimits {
  readonly maxMessages: number;
  readonly maxBytes: number;
  readonly maxAgeSeconds: number;
}

export interface OutboxRules {
  readonly limits: OutboxLimits;
  /** Topics of the lane `alarm`. */
  readonly alarmFilters: readonly TopicFilter[];
}

/** Why a message left without the broker's acknowledgement. */
export type Dropped = 'limit' | 'age' | 'operator';

export interface Outbox {
  /** Resolves with the message's sequence once it is safe. */
  accept(message: Message): Promise<number>;
  /** Hands out the next message; each once, until `rewind`. */
  take(): OutboxMessage | undefined;
  /** What was handed out and not removed is handed out again. */
  rewind(): void;
  /** The broker has it, or it is never to be sent. On disk with the next commit, or a second later. */
  remove(sequence: number): void;
  /** Drops what is older than the limit. */
  sweep(): void;
  /** The oldest messages, by lane. */
  list(limit: number): readonly OutboxMessage[];
  /** Drops by hand; resolves with how many, once that is on disk. */
  drop(which: { readonly sequence: number } | 'all'): Promise<number>;
  readonly messages: number;
  readonly bytes: number;
  /** When the oldest message was accepted; `undefined` when there is none or the clock was not set. */
  readonly oldestAt: NumericDate | undefined;
  /** Other rules, from the next message on. */
  setRules(rules: OutboxRules): void;
  /** Why the disk did not take the last commit; `undefined`: it did. */
  readonly failure: string | undefined;
  /** Writes something, to see whether the disk takes it again. */
  probe(): void;
  /** Writes what is left to write. */
  close(): void;
}

interface Waiting {
  readonly message: Message;
  readonly resolve: (sequence: number) => void;
  readonly reject: (error: Error) => void;
}

/** After a commit the next one waits this long, for others to join. */
const GROUP_MS = 20;
/** So many do not wait for more. */
const FULL_GROUP = 32;
/** Removals are written at the latest after this time: what a crash may send again. */
const REMOVAL_MS = 1000;
const MAX_REMOVALS = 500;
/** A clock before this was never set (2024-01-01), and says nothing about the age of a message. */
const CLOCK_IS_SET_FROM = 1_704_067_200;

const sizeOf = (topic: string, payload: Uint8Array): number =>
  Buffer.byteLength(topic) + payload.length;

export function openOutbox(deps: {
  readonly path: string;
  readonly rules: OutboxRules;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Called after a message left without an acknowledgement. */
  readonly onDropped?: (sequence: number, why: Dropped) => void;
}): Outbox {
  const { path, clock, logger, onDropped } = deps;
  let { limits, alarmFilters } = deps.rules;
  const file = openOutboxFile(path, logger);
  let { messages, bytes } = file.totals();
  const lanes = LANES.map((lane) => createOutboxLane(file, lane));
  /** Gone, and still on disk. */
  const removed = new Set<number>();
  let waiting: Waiting[] = [];
  let groupTimer: NodeJS.Timeout | undefined;
  let removalTimer: NodeJS.Timeout | undefined;
  let failure: string | undefined;

  const laneOf = (topic: string): Lane => {
    const name = parseTopicName(topic);
    return alarmFilters.some((filter) => matches(filter, name)) ? 'alarm' : 'telemetry';
  };

  const deleteRow = (sequence: number): void => {
    const removedBytes = file.remove(sequence);
    if (removedBytes === undefined) return;
    messages -= 1;
    bytes -= removedBytes;
  };

  /** Makes room, the oldest of the last lane first; returns what had to go. */
  const makeRoom = (): number[] => {
    const gone: number[] = [];
    while (messages > limits.maxMessages || bytes > limits.maxBytes) {
      const sequence = file.firstToDrop();
      if (sequence === undefined) break;
      deleteRow(sequence);
      gone.push(sequence);
    }
    return gone;
  };

  const writeAll = (group: readonly Waiting[], removals: Iterable<number>) => {
    for (const sequence of removals) deleteRow(sequence);
    const now = clock.now();
    const acceptedAt = now < CLOCK_IS_SET_FROM ? undefined : now;
    const accepted = group.map(({ message, resolve }) => {
      const { topic, payload, qos, isRetained } = message;
      messages += 1;
      bytes += sizeOf(topic, payload);
      const lane = laneOf(topic);
      const sequence = file.insert({ lane, topic, payload, qos, isRetained, acceptedAt });
      return { lane, sequence, resolve };
    });
    return { accepted, dropped: makeRoom() };
  };

  const tell = (sequences: readonly number[], why: Dropped): void => {
    if (sequences.length === 0) return;
    logger.warn({ event: 'outbox.dropped', why, messages: sequences.length }, 'messages dropped');
    for (const sequence of sequences) onDropped?.(sequence, why);
  };

  /** Makes room in the write-ahead log, so that removals can be written on a disk that is full. */
  const foldJournal = (): void => {
    try {
      file.foldJournal();
    } catch {
      // There is no room for this either; the next commit tries again.
    }
  };

  /** One transaction for all that waits; `false` when the disk did not take it and nothing changed. */
  const commit = (isProbe = false): boolean => {
    clearTimeout(removalTimer);
    removalTimer = undefined;
    const group = waiting;
    waiting = [];
    if (!file.isOpen) return true;
    if (group.length === 0 && removed.size === 0 && !isProbe) return true;
    const before = { messages, bytes };
    try {
      const { accepted, dropped } = file.transaction(() => {
        if (isProbe) file.touch();
        return writeAll(group, removed);
      });
      for (const { noteGone } of lanes) noteGone(new Set([...removed, ...dropped]));
      removed.clear();
      failure = undefined;
      for (const { lane, sequence, resolve } of accepted) {
        lanes[LANES.indexOf(lane)]?.noteAccepted(sequence);
        resolve(sequence);
      }
      tell(dropped, 'limit');
      return true;
    } catch (error) {
      ({ messages, bytes } = before);
      const detail = error instanceof Error ? error.message : String(error);
      // An outage is one line, not one for each message.
      const level = failure === undefined ? 'error' : 'debug';
      logger[level]({ event: 'outbox.failed', detail }, 'the outbox cannot be written');
      failure = detail;
      foldJournal();
      const refusal = new OutboxFullError(`the message cannot be kept: ${detail}`);
      for (const { reject } of group) reject(refusal);
      return false;
    }
  };

  /** At once after a pause or when many wait; together with others when there was a commit just now. */
  const commitSoon = (): void => {
    if (waiting.length === FULL_GROUP) setImmediate(() => commit());
    if (groupTimer !== undefined) return;
    groupTimer = setTimeout(() => {
      groupTimer = undefined;
      if (waiting.length > 0) commitSoon();
    }, GROUP_MS);
    setImmediate(() => commit());
  };

  const forget = (sequence: number): void => {
    removed.add(sequence);
    if (removed.size >= MAX_REMOVALS && failure === undefined) commit();
    else removalTimer ??= setTimeout(() => commit(), REMOVAL_MS);
  };

  return {
    accept: (message) =>
      new Promise((resolve, reject) => {
        if (sizeOf(message.topic, message.payload) > limits.maxBytes) {
          reject(new OutboxFullError(`the message is larger than ${limits.maxBytes} bytes`));
          return;
        }
        waiting.push({ message, resolve, reject });
        commitSoon();
      }),
    take: () => {
      for (const lane of lanes) {
        for (let message = lane.take(); message !== undefined; message = lane.take()) {
          if (!removed.has(message.sequence)) return message;
        }
      }
      return undefined;
    },
    rewind: () => {
      for (const lane of lanes) lane.rewind();
    },
    remove: forget,
    sweep: () => {
      const now = clock.now();
      if (now < CLOCK_IS_SET_FROM) return;
      const aged = file.agedBefore(now - limits.maxAgeSeconds).filter((one) => !removed.has(one));
      for (const sequence of aged) forget(sequence);
      tell(aged, 'age');
    },
    list: (limit) =>
      file
        .oldest(limit + removed.size)
        .filter(({ sequence }) => !removed.has(sequence))
        .slice(0, limit),
    drop: async (which) => {
      const sequence = which === 'all' ? null : which.sequence;
      const chosen = file.sequences(sequence).filter((one) => !removed.has(one));
      for (const one of chosen) removed.add(one);
      if (!commit()) throw new OutboxFullError('the outbox cannot be written now');
      tell(chosen, 'operator');
      return chosen.length;
    },
    get messages() {
      return messages - removed.size;
    },
    get bytes() {
      return bytes;
    },
    get oldestAt() {
      return messages > removed.size ? file.oldestAt() : undefined;
    },
    setRules: (rules) => {
      ({ limits, alarmFilters } = rules);
    },
    get failure() {
      return failure;
    },
    probe: () => void commit(true),
    close: () => {
      clearTimeout(groupTimer);
      commit();
      clearTimeout(removalTimer);
      file.close();
    },
  };
}
