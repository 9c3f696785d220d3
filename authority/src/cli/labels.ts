/**
 * Labels as they are written on a command line: `--label site=berlin`.
 *
 * Units   none.
 * Errors  `UsageError`.
 * Source  DESIGN 4.
 *
 * @module
 */
import { UsageError } from '@latchkey/shared';

/** As an object for the API, which checks keys and values. */
export function parseLabelOptions(options: readonly string[]): Readonly<Record<string, string>> {
  const labels = new Map<string, string>();
  for (const option of options) {
    const at = option.indexOf('=');
    if (at < 1) throw new UsageError('--label must look like key=value');
    const key = option.slice(0, at);
    if (labels.has(key)) throw new UsageError(`--label ${key} is given twice`);
    labels.set(key, option.slice(at + 1));
  }
  return Object.fromEntries(labels);
}
