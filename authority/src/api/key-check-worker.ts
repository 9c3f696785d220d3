/**
 * The thread that checks many keys, so that the requests of others do not wait for it.
 *
 * Units   32 bytes for each key.
 * Errors  none.
 * Source  DESIGN 9 (I9).
 *
 * @module
 */
import { parentPort } from 'node:worker_threads';
import { isPrimeOrderPoint } from '@latchkey/shared';
import type { KeyCheckOrder, KeyCheckResult } from './key-checks.js';

parentPort?.on('message', ({ id, keys }: KeyCheckOrder) => {
  const isGood = Array.from({ length: keys.length / 32 }, (_, index) =>
    isPrimeOrderPoint(keys.subarray(32 * index, 32 * (index + 1))),
  );
  const result: KeyCheckResult = { id, isGood };
  parentPort?.postMessage(result);
});
