/**
 * `latchkey-agent validate`: checks a config file without starting. A state folder or a CA file that the
 * agent could not use is told as a note, since the file may be checked on another machine.
 *
 * Units   none.
 * Errors  exit code 2 with every problem listed.
 * Source  STYLE 2.6.
 *
 * @module
 */
import { X509Certificate } from 'node:crypto';
import { EXIT, UnreachableError, UsageError } from '@latchkey/shared';
import { loadAgentConfig } from '../config-file.js';
import { openIdentity, readIdentity, refuseOther } from '../identity.js';
import { readCa } from '../mqtt-client.js';
import { type Io, writeLine } from './io.js';

export interface ValidateOptions {
  readonly config: string;
}

async function checkCa(file: string): Promise<void> {
  const text = await readCa(file);
  try {
    new X509Certificate(text);
  } catch {
    throw new UsageError(`broker.ca_file ${file} holds no certificate in PEM`);
  }
}

export async function runValidate(options: ValidateOptions, io: Io): Promise<number> {
  const { stateDir, sources, actions, broker, key, authority } = await loadAgentConfig(
    options.config,
  );
  writeLine(
    io.stdout,
    `${options.config} is valid: ${broker.urls.map((url) => url.href).join(' ')}, ` +
      `${sources.length} source(s), ${actions.length} action(s)`,
  );
  const note = (error: unknown): void => {
    if (!(error instanceof UsageError || error instanceof UnreachableError)) throw error;
    writeLine(io.stderr, `note: ${error.message}`);
  };
  if (broker.caFile !== undefined) await checkCa(broker.caFile).catch(note);
  try {
    const identity = await readIdentity(stateDir);
    if (identity !== undefined) refuseOther(identity, authority, stateDir);
    await openIdentity(stateDir, { sshAgentSocket: key.sshAgentSocket ?? io.sshAgentSocket });
  } catch (error) {
    note(error);
  }
  return EXIT.ok;
}
