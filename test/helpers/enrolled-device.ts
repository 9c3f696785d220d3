/**
 * A device that has enrolled, for agents that are processes: its state folder, and where its
 * configuration goes.
 *
 * @module
 */
import { join } from 'node:path';
import { enroll } from '@latchkey/agent/daemon';
import { createHttpClient, systemClock } from '@latchkey/shared';
import { CLIENT_ID } from './agent-setup.ts';
import { temporaryDir } from './processes.ts';
import { startTokenServer } from './token-server.ts';

export interface EnrolledDevice {
  readonly dir: string;
  /** `state` of `dir`. */
  readonly stateDir: string;
  /** Path of a configuration in `dir` that is still to be written. */
  readonly config: string;
}

export async function enrollDevice(): Promise<EnrolledDevice> {
  const { issuer, code } = await startTokenServer(systemClock);
  const dir = temporaryDir();
  const stateDir = join(dir, 'state');
  await enroll(
    { stateDir, issuer, clientId: CLIENT_ID, readCode: async () => code },
    { http: createHttpClient(), clock: systemClock },
  );
  return { dir, stateDir, config: join(dir, 'agent.toml') };
}
