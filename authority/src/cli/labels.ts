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

interface Label {
  readonly key: string;
  readonly value: string;
}

/** Reads one label, `site=berlin`. */
export function parseLabelOption(text: string, option = '--label'): Label {
  const at = text.indexOf('=');
  if (at < 1) throw new UsageError(`${option} must look like key=value`);
  return { key: text.slice(0, at), value: text.slice(at + 1) };
}

/** As an object for the API, which checks keys and values. */
export function parseLabelOptions(options: readonly string[]): Readonly<Record<string, string>> {
  const labels = new Map<string, string>();
  for (const option of options) {
    const { key, value } = parseLabelOption(option);
    if (labels.has(key)) throw new UsageError(`--label ${key} is given twice`);
    labels.set(key, value);
  }
  return Object.fromEntries(labels);
}
