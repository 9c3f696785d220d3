/** All migrations in order; the first makes version 1. Append only. */
import { initial } from './0001-initial.js';

export const MIGRATIONS: readonly string[] = [initial];
