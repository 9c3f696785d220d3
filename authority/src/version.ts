/** The version of this package, read from its `package.json`. */
import { readFileSync } from 'node:fs';

export function packageVersion(): string {
  // The same level up from `src` and from `dist`.
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { readonly version: string }).version;
}
