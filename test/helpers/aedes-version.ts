/**
 * Which Aedes this run of the tests has: the project of a test decides what `aedes` is.
 *
 * @module
 */
import { Aedes } from 'aedes';

/** Whether it speaks MQTT 5. */
export const isAedes2 = (Aedes.prototype as unknown as { version: string }).version.startsWith(
  '2.',
);
