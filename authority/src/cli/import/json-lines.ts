/**
 * JSON lines: one object a line, as `device export` writes them.
 *
 * Units   bytes.
 * Errors  none for the file: a line that is not JSON is refused like any other.
 * Source  https://jsonlines.org
 *
 * @module
 */
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { FormatError, parseJsonObject } from '@latchkey/shared';
import { type Defaults, isPrivateKey, rejectedObject, type Source, toSend } from './source.js';

const MAX_LINE_LENGTH = 65_536;

export function readJsonLines(
  input: Readable,
  options: { readonly size: number; readonly defaults: Defaults },
): Source {
  const { size, defaults } = options;
  let position = 0;

  async function* lines(): Source['lines'] {
    let number = 0;
    for await (const text of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
      number += 1;
      position += Buffer.byteLength(text) + 1;
      const line = text.replace(/^\uFEFF/, '').trim();
      if (line === '') continue;
      const parse = () => {
        if (line.length > MAX_LINE_LENGTH) {
          throw new FormatError('the line', `must not exceed ${MAX_LINE_LENGTH} characters`);
        }
        return parseJsonObject(Buffer.from(line), 'the line');
      };
      yield {
        place: `line ${number}`,
        read: () => toSend(parse(), defaults),
        rejected: (reason) => {
          try {
            return rejectedObject(parse(), reason);
          } catch {
            const shown = isPrivateKey(line) ? '' : line.slice(0, MAX_LINE_LENGTH);
            return rejectedObject({ unreadable: shown }, reason);
          }
        },
      };
    }
  }

  return {
    lines: lines(),
    size,
    position: () => position,
    rejectsExtension: '.jsonl',
    rejectsHeader: () => '',
  };
}
