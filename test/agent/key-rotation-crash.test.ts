/** I10: a rotation of real processes, killed before each of its steps. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { newStoredKey, rotateKey } from '@latchkey/agent/daemon';
import { createHttpClient, silentLogger } from '@latchkey/shared';
import { expect, test } from 'vitest';
import { startDeviceState } from '../helpers/device-state.ts';
import { ROOT, runCommand } from '../helpers/processes.ts';

const PROGRAM = join(ROOT, 'agent/bin/latchkey-agent.js');
const PRELOAD = join(ROOT, 'test/helpers/die-at-step.mjs');
/** The rotation has fewer; beyond that something never ends. */
const MAX_STEPS = 80;

test('killed before any step, the device has a key that works, and the next run ends the rotation', {
  timeout: 300_000,
}, async () => {
  const state = await startDeviceState();
  const { stateDir, authority } = state;
  const deps = { stateDir, http: createHttpClient(), clock: authority.clock, logger: silentLogger };
  let kills = 0;
  for (let dieAt = 1; ; dieAt += 1) {
    expect(dieAt).toBeLessThan(MAX_STEPS);
    const before = state.identity().kid;
    const { exitCode, stderr } = await runCommand('env', [
      ...[`LATCHKEY_TEST_DIE_AT=${dieAt}`, process.execPath, '--import', PRELOAD],
      ...[PROGRAM, 'key', 'rotate', '--state-dir', stateDir],
    ]);
    expect(await state.isUsable(), `killed before step ${dieAt}`).toBe(true);
    if (exitCode === 0) break;
    expect([exitCode, stderr]).toEqual([null, 'killed\n']);
    kills += 1;
    const { kid } = await rotateKey(deps, async () => newStoredKey());
    expect(kid).not.toBe(before);
    expect(await state.registered()).toEqual([kid]);
    expect(existsSync(state.file('next-key.pem'))).toBe(false);
    expect(await state.isUsable()).toBe(true);
  }
  // Files: key, time, identity, and the last rename; four exchanges with two steps each.
  expect(kills).toBeGreaterThan(20);
});
