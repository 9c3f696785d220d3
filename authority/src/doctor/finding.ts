/**
 * What `latchkey doctor` finds: one line for each thing that it looked at.
 *
 * Units   none.
 * Errors  none.
 * Source  STYLE 2.10.
 *
 * @module
 */
import { ConfigError, UnreachableError } from '@latchkey/shared';

/** `warn` works now and will not for ever; `fail` does not work. */
export type Level = 'ok' | 'warn' | 'fail';

export interface Finding {
  /** What was looked at, in a word or two. */
  readonly check: string;
  readonly level: Level;
  readonly message: string;
  /** What to do about it. */
  readonly remedy?: string | undefined;
}

export type Check = () => Finding | Promise<Finding>;

export const ok = (check: string, message: string): Finding => ({ check, level: 'ok', message });

export const warn = (check: string, message: string, remedy: string): Finding => ({
  ...{ check, level: 'warn', message, remedy },
});

export const fail = (check: string, message: string, remedy?: string): Finding => ({
  ...{ check, level: 'fail', message, remedy },
});

/** Runs one check; what it throws is what it found. */
export async function findingOf(check: string, look: Check): Promise<Finding> {
  try {
    return await look();
  } catch (error) {
    if (error instanceof ConfigError || error instanceof UnreachableError) {
      return fail(check, error.message);
    }
    throw error;
  }
}
