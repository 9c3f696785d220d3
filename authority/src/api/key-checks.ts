/**
 * Checks many public keys at once, in a thread that is started when it is wanted first.
 *
 * Units   32 bytes for each key; `MAX_WAITING` in calls, each of which the API bounds.
 * Errors  `UnavailableError` when the thread ends or too much waits for it: nothing unchecked passes.
 * Source  DESIGN 9 (I9, I11).
 *
 * @module
 */
import { Worker } from 'node:worker_threads';
import { type Logger, UnavailableError } from '@latchkey/shared';

export interface KeyCheckOrder {
  readonly id: number;
  readonly keys: Uint8Array;
}

export interface KeyCheckResult {
  readonly id: number;
  readonly isGood: readonly boolean[];
}

export interface KeyChecks {
  /** Whether each key, of 32 bytes, is the canonical encoding of a point of prime order. */
  check(keys: readonly Uint8Array[]): Promise<readonly boolean[]>;
  stop(): Promise<void>;
}

interface Waiter {
  readonly resolve: (isGood: readonly boolean[]) => void;
  readonly reject: (error: Error) => void;
}

const MAX_WAITING = 32;
// The same file from the build and from the source, which is what tests run.
const SCRIPT = new URL('../../dist/api/key-check-worker.js', import.meta.url);

export function createKeyChecks(deps: {
  readonly logger: Logger;
  /** Default: the thread of this package. */
  readonly script?: URL;
}): KeyChecks {
  const { logger, script = SCRIPT } = deps;
  const waiting = new Map<number, Waiter>();
  let worker: Worker | undefined;
  let lastId = 0;

  const failAll = (): void => {
    worker = undefined;
    for (const { reject } of waiting.values()) {
      reject(new UnavailableError('the keys cannot be checked now'));
    }
    waiting.clear();
  };

  const start = (): Worker => {
    const started = new Worker(script, { execArgv: [], name: 'key-checks' });
    started.unref();
    started.on('message', ({ id, isGood }: KeyCheckResult) => {
      waiting.get(id)?.resolve(isGood);
      waiting.delete(id);
    });
    started.on('error', (err) => {
      logger.warn({ event: 'keys.checks-failed', err }, 'the thread that checks keys has ended');
    });
    started.on('exit', failAll);
    return started;
  };

  return {
    check: (keys) =>
      new Promise((resolve, reject) => {
        if (keys.length === 0) {
          resolve([]);
          return;
        }
        if (waiting.size >= MAX_WAITING) {
          reject(new UnavailableError('too many keys wait to be checked'));
          return;
        }
        worker ??= start();
        lastId += 1;
        waiting.set(lastId, { resolve, reject });
        const order: KeyCheckOrder = { id: lastId, keys: Buffer.concat(keys) };
        worker.postMessage(order);
      }),
    stop: async () => {
      await worker?.terminate();
    },
  };
}
