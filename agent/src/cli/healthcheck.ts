/**
 * `latchkey-agent healthcheck`: whether the running agent gets on with its work, for monitors and
 * containers. Being offline is no failure: messages are kept, and the next try is known.
 *
 * Units   milliseconds.
 * Errors  exit code 1 when it is stuck, 3 when none runs or it does not answer in time.
 * Source  `health.ts`.
 *
 * @module
 */
import { resolve } from 'node:path';
import { EXIT } from '@latchkey/shared';
import { askAgent } from '../local/ask.js';
import { type Io, writeLine } from './io.js';

export interface HealthcheckOptions {
  readonly stateDir: string;
  readonly json?: boolean | undefined;
}

/** An agent that is not stuck answers in milliseconds. */
const TIMEOUT_MS = 5000;

interface Body {
  readonly problems?: readonly { readonly kind: string; readonly detail: string }[];
}

export async function runHealthcheck(options: HealthcheckOptions, io: Io): Promise<number> {
  const stateDir = resolve(options.stateDir);
  const { status, body } = await askAgent(stateDir, 'GET', '/healthz', undefined, TIMEOUT_MS);
  if (options.json) writeLine(io.stdout, JSON.stringify(body));
  else if (status === 200) writeLine(io.stdout, 'ok');
  if (status === 200) return EXIT.ok;
  for (const { kind, detail } of (body as Body).problems ?? []) {
    writeLine(io.stderr, `${kind}: ${detail}`);
  }
  return EXIT.failed;
}
