import { chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import {
  isRotationDue,
  isRotationUnderWay,
  newStoredKey,
  openCurrentKey,
  openIdentity,
  readIdentity,
  rotateKey,
  runKeySchedule,
  type TokenSource,
  withCurrentKey,
} from '@latchkey/agent/daemon';
import {
  createHttpClient,
  generateKey,
  type HttpClient,
  importPrivatePem,
  parsePublicKey,
  silentLogger,
  TokenRequestError,
  UnreachableError,
  UsageError,
} from '@latchkey/shared';
import { describe, expect, test } from 'vitest';
import { runAgentCli } from '../helpers/agent-cli.ts';
import { createCapturedLog } from '../helpers/captured-log.ts';
import { type DeviceState, startDeviceState } from '../helpers/device-state.ts';
import { createDrivenClock } from '../helpers/driven-clock.ts';
import { startSshAgent } from '../helpers/ssh-agent-process.ts';

async function setUp(http: HttpClient = createHttpClient()) {
  const state = await startDeviceState();
  const rotate = (change: Partial<Parameters<typeof rotateKey>[0]> = {}, next = newStoredKey) => {
    const { stateDir, authority } = state;
    const deps = { stateDir, http, clock: authority.clock, logger: silentLogger, ...change };
    return rotateKey(deps, async () => next());
  };
  return { ...state, rotate };
}

/** As it is after a rotation: one key everywhere, which works, and the old one does not. */
async function expectEnded(state: DeviceState, kid: string): Promise<void> {
  expect(state.identity().kid).toBe(kid);
  expect(existsSync(state.file('next-key.pem'))).toBe(false);
  const key = importPrivatePem(readFileSync(state.file('device-key.pem'), 'utf8'));
  expect(key.publicKey.kid).toBe(kid);
  expect(await state.registered()).toEqual([kid]);
  expect(await state.isUsable()).toBe(true);
  expect(await state.isAccepted(state.device.key)).toBe(kid === state.device.key.publicKey.kid);
}

test('a rotation: the new key works, the old one has ended, and its file is gone', async () => {
  const state = await setUp();
  const { kid, isResumed } = await state.rotate();
  expect(isResumed).toBe(false);
  await expectEnded(state, kid);
  expect(state.identity().key_since).toBe(state.authority.clock.now());
  const again = await state.rotate();
  expect(again.kid).not.toBe(kid);
  await expectEnded(state, again.kid);
});

test('key rotate: says both keys, and works through ssh-agent too', async () => {
  const state = await setUp();
  const { kid } = state.device.key.publicKey;
  const run = (args: string[], sshAgentSocket?: string) =>
    runAgentCli(['key', 'rotate', '--state-dir', state.stateDir, ...args], {
      change: { sshAgentSocket },
    });
  const first = await run([]);
  expect([first.exitCode, first.stdout]).toEqual([0, '']);
  expect(first.stderr).toContain(kid);
  await expectEnded(state, state.identity().kid);

  const agent = await startSshAgent();
  const held = parsePublicKey(readFileSync(`${agent.addKey('held')}.pub`, 'utf8'));
  expect((await run(['--ssh-agent', 'held'], agent.socketPath)).exitCode).toBe(0);
  expect(readFileSync(state.file('device-key.pem'), 'utf8')).toMatch(/BEGIN PUBLIC KEY/);
  expect(await state.registered()).toEqual([held.kid]);
  const { signer } = await openIdentity(state.stateDir, { sshAgentSocket: agent.socketPath });
  expect(await state.isAccepted(signer)).toBe(true);

  const same = await run(['--ssh-agent', 'held'], agent.socketPath);
  expect([same.exitCode, same.stderr]).toEqual([2, expect.stringContaining('key in use')]);
  const file = await run([], agent.socketPath);
  expect([file.exitCode, file.stderr]).toEqual([2, expect.stringContaining('--ssh-agent KEY')]);
  expect(await state.registered()).toEqual([held.kid]);
});

test('I1: neither output nor error of a rotation holds a key', async () => {
  const state = await setUp();
  const before = readFileSync(state.file('device-key.pem'), 'utf8').split('\n')[1]!;
  const { stdout, stderr } = await runAgentCli(['key', 'rotate', '--state-dir', state.stateDir]);
  const after = readFileSync(state.file('device-key.pem'), 'utf8').split('\n')[1]!;
  for (const secret of [before, after]) expect(stdout + stderr).not.toContain(secret);
});

/** The client fails request number `at` (from 1): before it is sent, or once it was answered. */
function failing(at: number, isAnswered: boolean): HttpClient {
  const http = createHttpClient();
  let requests = 0;
  return {
    request: async (request) => {
      requests += 1;
      if (requests !== at) return http.request(request);
      if (isAnswered) await http.request(request);
      throw new UnreachableError('the network is gone');
    },
  };
}

describe('an exchange that is cut off', () => {
  const cuts = [1, 2, 3, 4].flatMap((at) =>
    [false, true].map((isAnswered) => ({ at, isAnswered, name: isAnswered ? 'lost' : 'not sent' })),
  );
  test.each(cuts)('$at, $name: the key in use works, and the next run ends it', async (cut) => {
    const state = await setUp();
    await expect(state.rotate({ http: failing(cut.at, cut.isAnswered) })).rejects.toThrow(
      UnreachableError,
    );
    expect(await state.isUsable()).toBe(true);
    expect(await isRotationUnderWay(state.stateDir)).toBe(true);
    const next = readFileSync(state.file('next-key.pem'), 'utf8');
    const { kid, isResumed } = await state.rotate();
    expect([kid, isResumed]).toEqual([importPrivatePem(next).publicKey.kid, true]);
    await expectEnded(state, kid);
  });
});

describe('refused', () => {
  test('by a suspended client: the old key stays, and it goes on after the resumption', async () => {
    const state = await setUp();
    await state.authority.api('POST', '/clients/t-42/suspend', {});
    await expect(state.rotate()).rejects.toThrow(TokenRequestError);
    expect(state.identity().kid).toBe(state.device.key.publicKey.kid);
    await state.authority.api('POST', '/clients/t-42/resume', {});
    expect(await state.isUsable()).toBe(true);
    await expectEnded(state, (await state.rotate()).kid);
  });

  test('while an operator rotates the key of the device; it goes on when that is cancelled', async () => {
    const state = await setUp();
    const body = { public_key: generateKey().publicKey.jwk };
    await state.authority.api('POST', '/clients/t-42/keys/rotation/start', body);
    await expect(state.rotate()).rejects.toThrow(/operator/);
    expect(await state.isUsable()).toBe(true);
    await state.authority.api('POST', '/clients/t-42/keys/rotation/cancel', {});
    await expectEnded(state, (await state.rotate()).kid);
  });

  test('no more when an operator finished it: the new key is adopted', async () => {
    const state = await setUp();
    await expect(state.rotate({ http: failing(3, false) })).rejects.toThrow(UnreachableError);
    await state.authority.api('POST', '/clients/t-42/keys/rotation/finish', {});
    expect(await state.isAccepted(state.device.key)).toBe(false);
    await expectEnded(state, (await state.rotate()).kid);
  });

  test('no more when an operator cancelled it: the same key is vouched for again', async () => {
    const state = await setUp();
    await expect(state.rotate({ http: failing(3, false) })).rejects.toThrow(UnreachableError);
    await state.authority.api('POST', '/clients/t-42/keys/rotation/cancel', {});
    await expectEnded(state, (await state.rotate()).kid);
  });

  test('by an authority that does not offer it', async () => {
    const http = createHttpClient();
    const state = await setUp();
    const without: HttpClient = {
      request: async (request) => {
        const response = await http.request(request);
        const body = response.body.replace('key_rotation_endpoint', 'other');
        return { ...response, body };
      },
    };
    await expect(state.rotate({ http: without })).rejects.toThrow(/does not offer/);
    expect(await state.isUsable()).toBe(true);
  });

  test('while another process rotates', async () => {
    const state = await setUp();
    const outcomes = await Promise.allSettled([state.rotate(), state.rotate(), state.rotate()]);
    const refused = outcomes.filter(({ status }) => status === 'rejected');
    expect(refused).toHaveLength(2);
    for (const { reason } of refused as PromiseRejectedResult[]) {
      expect(reason).toBeInstanceOf(UsageError);
      expect(String(reason)).toMatch(/is being rotated/);
    }
    await expectEnded(state, state.identity().kid);
  });
});

describe('the daemon', () => {
  const tokensBy = (signer: { publicKey: { kid: string } }): TokenSource => {
    const token = async () => ({
      ...{ accessToken: signer.publicKey.kid, issuedAt: 0, expiresAt: 900, scope: '' },
      mayMint: false,
    });
    return { get: token, renew: token, discard: async () => undefined };
  };

  test('signs with the key that another process rotated to, from the next token on', async () => {
    const state = await setUp();
    const { stateDir } = state;
    const logger = createCapturedLog();
    const key = await openCurrentKey({ stateDir, holders: {}, logger });
    const tokens = withCurrentKey(tokensBy(key.signer), key);
    expect((await tokens.get({})).accessToken).toBe(key.identity.kid);
    const { kid } = await state.rotate();
    expect((await tokens.renew({})).accessToken).toBe(kid);
    expect(await state.isAccepted(key.signer)).toBe(true);
    expect(logger.all('key.replaced')).toEqual([{ event: 'key.replaced', kid }]);
  });

  test.each([
    { name: 'is gone', change: (file: string) => rmSync(file) },
    { name: 'is open to others', change: (file: string) => chmodSync(file, 0o644) },
    {
      name: 'is of another device',
      change: (file: string) => {
        const other = readFileSync(file, 'utf8').replace('t-42', 't-43');
        rmSync(file);
        writeFileSync(file, other, { mode: 0o600 });
      },
    },
  ])('goes on with the key it has when the identity $name, and says so', async ({ change }) => {
    const state = await setUp();
    const { stateDir } = state;
    const logger = createCapturedLog();
    const key = await openCurrentKey({ stateDir, holders: {}, logger });
    change(state.file('identity.json'));
    await key.refresh();
    expect(key.signer.publicKey.kid).toBe(state.device.key.publicKey.kid);
    expect(logger.all('key.not-read')).toHaveLength(1);
  });

  const identity = async () => readIdentity((await startDeviceState()).stateDir);
  test.each([
    { name: 'never asked for', days: 0, age: 1e9, isDue: false },
    { name: 'a second too young', days: 30, age: 30 * 86_400 - 1, isDue: false },
    { name: 'just old enough', days: 30, age: 30 * 86_400, isDue: true },
    { name: 'from the future', days: 30, age: -5, isDue: false },
  ])('a key that is $name: $isDue', async ({ days, age, isDue }) => {
    const now = 1_760_000_000;
    const known = { ...(await identity())!, keySince: now - age };
    expect(isRotationDue(known, days, now)).toBe(isDue);
  });

  test('a key of unknown age is old', async () => {
    expect(isRotationDue((await identity())!, 3650, 1_760_000_000)).toBe(true);
    expect(isRotationDue((await identity())!, 0, 1_760_000_000)).toBe(false);
  });

  async function schedule(days: number, isUnderWay: boolean, keySince = 0) {
    const clock = createDrivenClock();
    const logger = createCapturedLog();
    const known = { ...(await identity())!, keySince: keySince || clock.now() };
    const run = { rotations: 0, failures: 0, clock, logger, end: new AbortController() };
    const isOver = runKeySchedule(
      {
        readIdentity: async () => known,
        isUnderWay: async () => isUnderWay && run.rotations === 0,
        rotate: async () => {
          if (run.failures > 0) {
            run.failures -= 1;
            throw new UnreachableError('not now');
          }
          run.rotations += 1;
          known.keySince = clock.now();
        },
        ...{ days, clock, logger, random: () => 0.5 },
      },
      run.end.signal,
    );
    return { run, isOver };
  }

  test('rotates when the key is old enough, again and again, and stops with the agent', async () => {
    const { run, isOver } = await schedule(30, false);
    await run.clock.advance(30 * 86_400_000 - 1000);
    expect(run.rotations).toBe(0);
    await run.clock.advance(3_600_000 + 1000);
    expect(run.rotations).toBe(1);
    await run.clock.advance(65 * 86_400_000);
    expect(run.rotations).toBe(3);
    run.end.abort();
    await isOver;
  });

  test('ends at once what was begun, tries again ever slower, and then rests', async () => {
    const { run, isOver } = await schedule(0, true);
    run.failures = 3;
    await run.clock.advance(0);
    expect(run.rotations).toBe(0);
    await run.clock.advance(30_000 + 60_000);
    expect(run.rotations).toBe(0);
    await run.clock.advance(120_000);
    expect(run.rotations).toBe(1);
    expect(run.logger.all('key-rotation.failed')).toHaveLength(3);
    await isOver;
  });

  test('does nothing when nothing is asked for', async () => {
    const { run, isOver } = await schedule(0, false);
    await isOver;
    expect(run.rotations).toBe(0);
  });
});
