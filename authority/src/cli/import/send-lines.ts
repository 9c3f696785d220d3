/**
 * Sends the lines of an import in batches, each of which the authority takes in one transaction. While
 * it works on one, the next is on its way.
 *
 * Units   lines and characters of a batch; milliseconds.
 * Errors  those of the management client; what was answered until then stays registered.
 * Source  none.
 *
 * @module
 */
import { UnreachableError } from '@latchkey/shared';
import * as v from 'valibot';
import type { Item, ManagementClient } from '../management-client.js';
import { problemOf, reasonOf, type Source, type SourceLine } from './source.js';

const BATCH_LINES = 500;
/** The authority takes 1 MiB. */
const BATCH_CHARACTERS = 400_000;
const MAX_UNDER_WAY = 2;
const BATCH_TIMEOUT_MS = 60_000;

const answerSchema = v.object({
  created: v.number(),
  unchanged: v.number(),
  refused: v.array(
    v.object({
      index: v.number(),
      errors: v.array(v.object({ field: v.string(), message: v.string() })),
    }),
  ),
});
type Answer = v.InferOutput<typeof answerSchema>;

export interface ImportCounts {
  readonly created: number;
  readonly unchanged: number;
  readonly refused: number;
}

/** A line, and why it is refused if that is known before it is sent. */
interface Read {
  readonly line: SourceLine;
  readonly item: Item | undefined;
  readonly reason: string | undefined;
}

function readLine(line: SourceLine): Read {
  try {
    return { line, item: line.read(), reason: undefined };
  } catch (error) {
    return { line, item: undefined, reason: problemOf(error) };
  }
}

async function* batchesOf(lines: Source['lines']): AsyncGenerator<readonly Read[]> {
  let batch: Read[] = [];
  let characters = 0;
  for await (const line of lines) {
    const read = readLine(line);
    const length = read.item === undefined ? 0 : JSON.stringify(read.item).length;
    if (batch.length === BATCH_LINES || characters + length > BATCH_CHARACTERS) {
      yield batch;
      batch = [];
      characters = 0;
    }
    batch.push(read);
    characters += length;
  }
  if (batch.length > 0) yield batch;
}

export interface SendOptions {
  readonly management: ManagementClient;
  /** Of the API, such as `/devices`. */
  readonly path: string;
  readonly isDryRun: boolean;
  /** Told of every line that is refused, in the order of the lines. */
  readonly onRefused: (line: SourceLine, reason: string) => void;
  /** Told after each batch. */
  readonly onProgress: (counts: ImportCounts) => void;
}

export async function sendLines(source: Source, options: SendOptions): Promise<ImportCounts> {
  const { management, path, isDryRun, onRefused, onProgress } = options;
  let counts: ImportCounts = { created: 0, unchanged: 0, refused: 0 };

  const send = async (batch: readonly Read[]): Promise<Answer> => {
    const lines = batch.flatMap(({ item }) => item ?? []);
    if (lines.length === 0) return { created: 0, unchanged: 0, refused: [] };
    const body = { lines, ...(isDryRun && { dry_run: true }) };
    const item = await management.post(`${path}/import`, body, { timeoutMs: BATCH_TIMEOUT_MS });
    const answer = v.safeParse(answerSchema, item);
    if (answer.success) return answer.output;
    throw new UnreachableError('the authority answered with something unexpected');
  };

  const settle = (batch: readonly Read[], answer: Answer): void => {
    const reasons = new Map(answer.refused.map(({ index, errors }) => [index, reasonOf(errors)]));
    let sent = 0;
    let refused = 0;
    for (const { line, item, reason } of batch) {
      const why = reason ?? reasons.get(sent);
      if (item !== undefined) sent += 1;
      if (why === undefined) continue;
      refused += 1;
      onRefused(line, why);
    }
    counts = {
      created: counts.created + answer.created,
      unchanged: counts.unchanged + answer.unchanged,
      refused: counts.refused + refused,
    };
    onProgress(counts);
  };

  const underWay: { readonly batch: readonly Read[]; readonly answer: Promise<Answer> }[] = [];
  const settleOldest = async (): Promise<void> => {
    const oldest = underWay.shift();
    if (oldest !== undefined) settle(oldest.batch, await oldest.answer);
  };
  try {
    for await (const batch of batchesOf(source.lines)) {
      const answer = send(batch);
      // Awaited in its turn; until then a failure must not count as one that nobody looks at.
      answer.catch(() => undefined);
      underWay.push({ batch, answer });
      if (underWay.length === MAX_UNDER_WAY) await settleOldest();
    }
    while (underWay.length > 0) await settleOldest();
  } finally {
    await Promise.allSettled(underWay.map(({ answer }) => answer));
  }
  return counts;
}
