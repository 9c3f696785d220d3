/**
 * The program's log: JSON lines, with whatever could be a secret struck out.
 *
 * Units   `time`: milliseconds since the epoch, as pino writes it.
 * Errors  none.
 * Source  STYLE 2.7; https://getpino.io
 *
 * @module
 */
import type { Writable } from 'node:stream';
import { type Logger, strikeOut } from '@latchkey/shared';
import { pino } from 'pino';
import type { LogLevel } from './config.js';

export function createLogger(level: LogLevel, destination: Writable): Logger {
  const formatters = { level: (label: string) => ({ level: label }), log: strikeOut };
  return pino({ level, formatters, base: null }, destination);
}
