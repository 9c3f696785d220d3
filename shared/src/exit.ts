/**
 * How our command-line programs end: exit codes, and errors as lines for a person.
 *
 * Units   exit codes 0 to 3.
 * Errors  none; it describes them.
 * Source  STYLE 2.10.
 *
 * @module
 */
import { ConfigError, FormatError, UnreachableError } from './errors.js';

export const EXIT = { ok: 0, failed: 1, usage: 2, unreachable: 3 } as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Wrong use or configuration that is not about one value; exit code 2. */
export class UsageError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'UsageError';
  }
}

/** Errors that the language throws, or a caller's mistake: the stack is what helps then. */
function isBug(error: Error): boolean {
  return [TypeError, RangeError, ReferenceError, SyntaxError].some((kind) => error instanceof kind);
}

/** What to print to stderr and how to exit. Only bugs show a stack. */
export function describeFailure(error: unknown): {
  readonly text: string;
  readonly exitCode: ExitCode;
} {
  if (!(error instanceof Error)) return { text: String(error), exitCode: EXIT.failed };
  if (error instanceof UsageError || error instanceof ConfigError || error instanceof FormatError) {
    return { text: error.message, exitCode: EXIT.usage };
  }
  if (error instanceof UnreachableError) return { text: error.message, exitCode: EXIT.unreachable };
  const text = isBug(error) ? (error.stack ?? error.message) : error.message;
  return { text, exitCode: EXIT.failed };
}
