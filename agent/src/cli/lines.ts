/**
 * Lines of a stream, as bytes.
 *
 * Units   sizes in bytes.
 * Errors  `UsageError`: a line is too long.
 * Source  invariant I11.
 *
 * @module
 */
import type { Readable } from 'node:stream';
import { UsageError } from '@latchkey/shared';

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/** Lines without their ends; the last one needs none. */
export async function* readLines(stream: Readable, maxBytes: number): AsyncGenerator<Buffer, void> {
  let rest: Buffer[] = [];
  let restBytes = 0;
  const lineOf = (last: Buffer): Buffer => {
    const line = rest.length === 0 ? last : Buffer.concat([...rest, last]);
    if (line.length > maxBytes) throw new UsageError(`a line exceeds ${maxBytes} bytes`);
    rest = [];
    restBytes = 0;
    return line.at(-1) === CARRIAGE_RETURN ? line.subarray(0, -1) : line;
  };
  for await (const chunk of stream as AsyncIterable<Buffer | string>) {
    let bytes = Buffer.from(chunk as Buffer);
    for (let at = bytes.indexOf(LINE_FEED); at !== -1; at = bytes.indexOf(LINE_FEED)) {
      yield lineOf(bytes.subarray(0, at));
      bytes = bytes.subarray(at + 1);
    }
    if (bytes.length === 0) continue;
    rest.push(bytes);
    restBytes += bytes.length;
    if (restBytes > maxBytes) throw new UsageError(`a line exceeds ${maxBytes} bytes`);
  }
  if (rest.length > 0) yield lineOf(Buffer.alloc(0));
}
