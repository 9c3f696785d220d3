/**
 * What the broker keeps on disk: its state file, and the copies of issuers' keys in it.
 *
 * Units   none.
 * Errors  `ConfigError` for a file that cannot be used.
 * Source  DESIGN 8.
 *
 * @module
 */
import type { Database } from 'better-sqlite3';
import { createKeyCopies, type KeyCopies } from './key-copies.js';
import { openStateFile } from './state-file.js';

export interface BrokerState {
  readonly db: Database;
  readonly copies: KeyCopies;
  close(): void;
}

export function openBrokerState(path: string): BrokerState {
  const db = openStateFile(path);
  return { db, copies: createKeyCopies(db), close: () => void db.close() };
}
