/**
 * `latchkey-agent validate`: checks a config file, and the state folder it names, without starting.
 *
 * Units   none.
 * Errors  exit code 2 with every problem listed.
 * Source  STYLE 2.6.
 *
 * @module
 */
import { EXIT } from '@latchkey/shared';
import { loadAgentConfig } from '../config.js';
import { openIdentity } from '../identity.js';
import { type Io, writeLine } from './io.js';

export interface ValidateOptions {
  readonly config: string;
}

export async function runValidate(options: ValidateOptions, io: Io): Promise<number> {
  const { stateDir, sources, actions, broker } = await loadAgentConfig(options.config);
  const { identity } = await openIdentity(stateDir);
  writeLine(
    io.stdout,
    `${options.config} is valid: ${identity.clientId} on ${broker.url.href}, ` +
      `${sources.length} source(s), ${actions.length} action(s)`,
  );
  return EXIT.ok;
}
