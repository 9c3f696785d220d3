/**
 * The agent as one file, as a device installs it: it starts faster than the modules that `tsc -b` built.
 *
 * @module
 */
import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT, runCommand, temporaryDir } from './processes.ts';

/** Returns the path of the program, which finds its native addon beside it. */
export async function buildAgentBundle(): Promise<string> {
  const dir = temporaryDir();
  const script = join(ROOT, 'agent/scripts/build-bundle.mjs');
  const { exitCode, stderr } = await runCommand(process.execPath, [script, dir]);
  if (exitCode !== 0) throw new Error(stderr);
  symlinkSync(join(ROOT, 'node_modules'), join(dir, 'node_modules'));
  return join(dir, 'latchkey-agent.cjs');
}
