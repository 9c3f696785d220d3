/**
 * The version of this program. The bundle has it as a constant in place of this file.
 *
 * Units   none.
 * Errors  those of reading `package.json`, which is always there in a package or a clone.
 * Source  `scripts/build-bundle.mjs`.
 *
 * @module
 */
import { readFileSync } from 'node:fs';

export function version(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  const { version: number }: { version: string } = JSON.parse(text);
  return number;
}
