/**
 * `latchkey-agent key rotate`: replaces the device's key by a new one, or by one that ssh-agent holds.
 *
 * Units   none.
 * Errors  exit code 1 when the authority refuses, 2 when the device is not enrolled or a rotation runs, 3
 *         when the authority or ssh-agent cannot be reached: then the same command goes on later.
 * Source  `key-rotation.ts`.
 *
 * @module
 */
import { resolve } from 'node:path';
import { EXIT, silentLogger, withTlsPins } from '@latchkey/shared';
import { createAuthorityTime, learnTimeFrom } from '../authority-time.js';
import { openIdentity } from '../identity.js';
import { rotateKey } from '../key-rotation.js';
import { makeKeyAfter } from '../key-store.js';
import { keepTime } from '../time-file.js';
import { type Io, writeLine } from './io.js';
import { obtainKey } from './key.js';

export interface KeyRotateOptions {
  readonly stateDir: string;
  /** Which key of ssh-agent to go on with; `true`: the only one that it has. */
  readonly sshAgent?: string | true | undefined;
}

/** Works while the agent runs as well: it goes on with the new key by itself. */
export async function runKeyRotate(options: KeyRotateOptions, io: Io): Promise<number> {
  const stateDir = resolve(options.stateDir);
  const { identity } = await openIdentity(stateDir, io);
  const logger = silentLogger;
  const clock = createAuthorityTime({ machine: io.clock, logger });
  const timeFile = await keepTime(stateDir, clock, logger);
  const http = learnTimeFrom(
    withTlsPins(io.http, identity.tlsPins ?? []),
    identity.issuer,
    clock,
    timeFile.save,
  );
  const { sshAgentSocket } = io;
  const { sshAgent } = options;
  const { kid, isResumed } = await rotateKey(
    { stateDir, http, clock, logger, sshAgentSocket },
    () => (sshAgent === undefined ? makeKeyAfter(stateDir) : obtainKey(sshAgent, io)),
  );
  writeLine(
    io.stderr,
    isResumed
      ? `the rotation that was begun before is at its end; the key of ${identity.clientId} is ${kid}`
      : `the key of ${identity.clientId} is ${kid}; the old one, ${identity.kid}, has ended`,
  );
  return EXIT.ok;
}
