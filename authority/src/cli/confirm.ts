/**
 * Asks before something ends that cannot be brought back.
 *
 * Units   none.
 * Errors  `UsageError` when nobody is there to ask and `--yes` is missing.
 * Source  STYLE 2.10.
 *
 * @module
 */
import { createInterface } from 'node:readline/promises';
import { UsageError } from '@latchkey/shared';
import type { Io } from './io.js';

export interface ConfirmOptions {
  readonly yes?: boolean;
}

/** The person answered no, or nothing. */
export class DeclinedError extends Error {
  constructor() {
    super('nothing was changed');
    this.name = 'DeclinedError';
  }
}

async function ask(question: string, io: Io): Promise<string> {
  const { stdin: input, stderr: output, signal } = io;
  const lines = createInterface({ input, output });
  // Without an answer, at the end of the input, the question would stay for ever.
  const ended = new Promise<string>((resolve) => lines.once('close', () => resolve('')));
  try {
    return await Promise.race([lines.question(`${question} [y/N] `, { signal }), ended]);
  } catch {
    return '';
  } finally {
    lines.close();
  }
}

/** Returns when the change may happen. `what` says it in a few words, such as `revoke t-42`. */
export async function confirm(what: string, options: ConfirmOptions, io: Io): Promise<void> {
  if (options.yes) return;
  if (!io.isInteractive) throw new UsageError(`${what}: give --yes to do this without a question`);
  const answer = await ask(`${what}?`, io);
  if (!/^y(es)?$/i.test(answer.trim())) throw new DeclinedError();
}
