/** All migrations in order; the first makes version 1. Append only. */
import { initial } from './0001-initial.js';
import { tokens } from './0002-tokens.js';
import { lifecycle } from './0003-lifecycle.js';
import { trust } from './0004-trust.js';
import { audit } from './0005-audit.js';

export const MIGRATIONS: readonly string[] = [initial, tokens, lifecycle, trust, audit];
