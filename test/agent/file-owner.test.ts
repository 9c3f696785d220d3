/** Files of another account are refused. Only the superuser can make some, so only it runs these. */
import { chownSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runAgentCli } from '../helpers/agent-cli.ts';
import { ROOT, runCommand, temporaryDir } from '../helpers/processes.ts';

const NOBODY = 65_534;
const SOMEBODY = 65_533;
const isSuperuser = process.getuid?.() === 0;
const PROGRAM = join(ROOT, 'agent/bin/latchkey-agent.js');

/** `key show` as the account `nobody`, with the state folder and the key of these accounts. */
async function showAsNobody(owners: { readonly dir: number; readonly key: number }) {
  const outer = temporaryDir();
  const stateDir = join(outer, 'state');
  mkdirSync(stateDir, { mode: 0o700 });
  await runAgentCli(['key', 'create', '--state-dir', stateDir]);
  chownSync(outer, NOBODY, NOBODY);
  chownSync(join(stateDir, 'device-key.pem'), owners.key, owners.key);
  chownSync(stateDir, owners.dir, owners.dir);
  const as = ['--reuid', String(NOBODY), '--regid', String(NOBODY), '--clear-groups'];
  return runCommand('setpriv', [
    ...[...as, process.execPath, PROGRAM, 'key', 'show', '--state-dir', stateDir],
  ]);
}

test.skipIf(!isSuperuser).each([
  { name: 'its own', owners: { dir: NOBODY, key: NOBODY }, says: undefined },
  {
    name: 'a folder of another',
    owners: { dir: SOMEBODY, key: NOBODY },
    says: /belongs to another/,
  },
  {
    name: 'a key of another',
    owners: { dir: NOBODY, key: SOMEBODY },
    says: /not readable by this/,
  },
])('an account with $name', async ({ owners, says }) => {
  const { exitCode, stderr } = await showAsNobody(owners);
  if (says === undefined) expect([exitCode, stderr]).toEqual([0, '']);
  else expect([exitCode, stderr]).toEqual([2, expect.stringMatching(says)]);
});
