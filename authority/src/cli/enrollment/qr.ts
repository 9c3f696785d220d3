/**
 * An enrollment code as a QR code, in the terminal and as a PNG, for the label of a device or its screen.
 *
 * Units   pixels per module; file mode.
 * Errors  `UsageError` for a file that cannot be made.
 * Source  ISO/IEC 18004; https://qr.davidje13.com
 *
 * @module
 */
import { writeFileSync } from 'node:fs';
import { UsageError } from '@latchkey/shared';
import { generate } from 'lean-qr';
import { toPngBuffer } from 'lean-qr/extras/node_export';

/** The light margin without which readers do not find it (ISO/IEC 18004 6.3.8). */
const MARGIN_MODULES = 4;
const PIXELS_PER_MODULE = 8;
/** It is as good as the code. */
const MODE = 0o600;

/**
 * Two rows of modules in each line of text, so that it fits in 80 columns. Light modules are drawn, for
 * terminals that are dark.
 */
export function formatQr(text: string): string {
  const bitmap = generate(text);
  const end = bitmap.size + MARGIN_MODULES;
  const lines: string[] = [];
  for (let y = -MARGIN_MODULES; y < end; y += 2) {
    let line = '';
    for (let x = -MARGIN_MODULES; x < end; x += 1) {
      const isUpperLight = !bitmap.get(x, y);
      const isLowerLight = y + 1 < end && !bitmap.get(x, y + 1);
      if (isUpperLight) line += isLowerLight ? '\u2588' : '\u2580';
      else line += isLowerLight ? '\u2584' : ' ';
    }
    lines.push(line);
  }
  return lines.join('\n');
}

/** Refuses a path where something is. */
export function writeQrPng(text: string, path: string): void {
  const png = toPngBuffer(generate(text), {
    ...{ on: [0, 0, 0], off: [255, 255, 255] },
    ...{ pad: MARGIN_MODULES, scale: PIXELS_PER_MODULE },
  });
  try {
    writeFileSync(path, png, { mode: MODE, flag: 'wx' });
  } catch (error) {
    throw new UsageError(`--png: cannot make ${path} (${(error as NodeJS.ErrnoException).code})`);
  }
}
