/** How a device, and a fleet of them, comes back: DESIGN 8, STANDARDS 4.4. */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { openComeback } from '@latchkey/agent/daemon';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { setUpAgent } from '../helpers/agent-setup.ts';
import { createCapturedLog } from '../helpers/captured-log.ts';
import { createDrivenClock } from '../helpers/driven-clock.ts';
import { temporaryDir } from '../helpers/processes.ts';

const TOPIC = 'devices/t-42/telemetry/temperature';
const MESSAGE = { topic: TOPIC, payload: Buffer.from('x'), qos: 1, isRetained: false } as const;
const LARGEST = 0.999_999;

function setUp() {
  const stateDir = join(temporaryDir(), 'state');
  mkdirSync(stateDir, { mode: 0o700 });
  const logger = createCapturedLog();
  const open = (change: { uptimeMs?: number; random?: () => number; spread?: number } = {}) => {
    const { uptimeMs = 1e9, random = () => LARGEST, spread = 10 } = change;
    const clock = { ...createDrivenClock(), uptimeMs: () => uptimeMs };
    return openComeback({ stateDir, startSpreadSeconds: spread, clock, logger, random });
  };
  const file = join(stateDir, 'comeback.json');
  const written = async (): Promise<unknown> => {
    while (!existsSync(file)) await new Promise(setImmediate);
    return JSON.parse(readFileSync(file, 'utf8'));
  };
  return { file, logger, open, stateDir, written };
}

const ceilings = (waits: readonly number[]) => waits.map((ms) => Math.ceil(ms / 1000));

test('waits grow from 1 s to 2 min, those after a refusal from 1 min to 1 h, each on its own', async () => {
  const comeback = await setUp().open();
  const waits = (pace: 'network' | 'operator', count: number) =>
    ceilings(Array.from({ length: count }, () => comeback.nextWaitMs(pace)));
  expect(waits('network', 9)).toEqual([1, 2, 4, 8, 16, 32, 64, 120, 120]);
  expect(waits('operator', 8)).toEqual([60, 120, 240, 480, 960, 1920, 3600, 3600]);
  comeback.reset();
  expect([...waits('network', 1), ...waits('operator', 1)]).toEqual([1, 60]);
});

test('full jitter: whatever is drawn, a wait is from 0 to its limit', () =>
  fc.assert(
    fc.asyncProperty(
      fc.array(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), { minLength: 1 }),
      fc.boolean(),
      async (draws, isRefused) => {
        let at = 0;
        const comeback = await setUp().open({ random: () => draws[at++ % draws.length] as number });
        for (let attempt = 0; attempt < 12; attempt += 1) {
          const [pace, base, cap] = isRefused
            ? (['operator', 60_000, 3_600_000] as const)
            : (['network', 1000, 120_000] as const);
          const waitMs = comeback.nextWaitMs(pace);
          expect(waitMs).toBeGreaterThanOrEqual(0);
          expect(waitMs).toBeLessThan(Math.min(cap, base * 2 ** attempt));
        }
      },
    ),
    { numRuns: 30 },
  ));

test.each([
  { name: 'two failures are not worth a write', attempts: 2, firstSeconds: 0 },
  { name: 'three are remembered', attempts: 3, firstSeconds: 4 },
  { name: 'five', attempts: 5, firstSeconds: 16 },
  { name: 'eight: the limit', attempts: 8, firstSeconds: 120 },
  { name: 'a hundred: no more than the limit', attempts: 100, firstSeconds: 120 },
])(
  '$name: after a restart the first try waits up to $firstSeconds s, and the count goes on',
  async ({ attempts, firstSeconds }) => {
    const { file, open, written } = setUp();
    const before = await open();
    for (let i = 0; i < attempts; i += 1) before.nextWaitMs('network');
    if (firstSeconds === 0) {
      expect(existsSync(file)).toBe(false);
      expect((await open()).firstWaitMs()).toBe(0);
      return;
    }
    await expect.poll(written).toEqual({ network: Math.min(attempts, 8), operator: 0 });
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const after = await open();
    expect(Math.ceil(after.firstWaitMs() / 1000)).toBe(firstSeconds);
    expect(Math.ceil(after.nextWaitMs('network') / 1000)).toBe(Math.min(120, 2 ** attempts));
    after.reset();
    await expect.poll(written).toEqual({ network: 0, operator: 0 });
    expect((await open()).firstWaitMs()).toBe(0);
  },
);

test('refused, and started anew by an operator: the first try waits 2 min at most, the next as long as before', async () => {
  const { open, written } = setUp();
  const before = await open();
  for (let i = 0; i < 7; i += 1) before.nextWaitMs('operator');
  await expect.poll(written).toEqual({ network: 0, operator: 7 });
  const after = await open();
  expect(ceilings([after.firstWaitMs(), after.nextWaitMs('operator')])).toEqual([120, 3600]);
});

test.each([
  { name: 'just started', uptimeMs: 20_000, spread: 10, seconds: 10 },
  { name: 'below five minutes', uptimeMs: 299_999, spread: 3600, seconds: 3600 },
  { name: 'at five minutes', uptimeMs: 300_000, spread: 3600, seconds: 0 },
  { name: 'just started, and the spread is 0', uptimeMs: 20_000, spread: 0, seconds: 0 },
])(
  'a machine that has $name: the first try waits up to $seconds s',
  async ({ seconds, ...change }) => {
    expect(Math.ceil((await setUp().open(change)).firstWaitMs() / 1000)).toBe(seconds);
  },
);

test('ten thousand devices whose power returns at one moment come by a thousand each second', async () => {
  const { open } = setUp();
  let seed = 1;
  const random = () => {
    seed = (seed * 48_271) % 2_147_483_647; // Park and Miller
    return seed / 2_147_483_647;
  };
  const perSecond = new Array<number>(10).fill(0);
  for (let i = 0; i < 10_000; i += 1) {
    const comeback = await open({ uptimeMs: 20_000, random });
    const second = Math.floor(comeback.firstWaitMs() / 1000);
    expect(comeback.firstWaitMs()).toBe(0); // a new configuration is no new start
    perSecond[second] = (perSecond[second] ?? 0) + 1;
  }
  expect(perSecond.length).toBe(10);
  expect(Math.max(...perSecond)).toBeLessThan(1150);
  expect(Math.min(...perSecond)).toBeGreaterThan(850);
});

test.each([
  { name: 'cut off', text: '{"netw' },
  { name: 'of another form', text: '[]' },
  { name: 'below 0', text: '{"network":-1,"operator":0}' },
  { name: 'beyond any count', text: '{"network":1e9,"operator":0}' },
  { name: 'not whole', text: '{"network":1.5,"operator":0}' },
])('a file that is $name counts as none', async ({ text }) => {
  const { file, open } = setUp();
  writeFileSync(file, text, { mode: 0o600 });
  expect((await open()).firstWaitMs()).toBe(0);
});

test('a file that others may read is refused; one that cannot be written costs a log line', async () => {
  const { file, logger, open, stateDir } = setUp();
  writeFileSync(file, '{"network":5,"operator":0}', { mode: 0o644 });
  chmodSync(file, 0o644);
  await expect(open()).rejects.toThrow(`run: chmod 600 ${file}`);
  chmodSync(file, 0o600);
  const comeback = await open();
  rmSync(stateDir, { recursive: true });
  comeback.nextWaitMs('network');
  await logger.event('comeback.not-kept');
});

/** Moves the clock until `done`, and lets what is on the wire arrive. */
async function driveUntil(
  { clock, logger }: Awaited<ReturnType<typeof setUpAgent>>,
  done: Promise<unknown>,
) {
  let isDone = false;
  void done.then(() => {
    isDone = true;
  });
  while (!isDone) {
    await clock.advance(1000);
    do await new Promise(setImmediate);
    while (['obtaining', 'connecting'].includes(String(logger.all('agent.state').at(-1)?.state)));
  }
}

test('an agent that was restarted while its broker was away waits first, says so, and comes back', async () => {
  const setup = await setUpAgent();
  const { broker, clock, logger, startAgent, stateDir } = setup;
  const agent = await startAgent();
  await broker.stop();
  const file = join(stateDir, 'comeback.json');
  while (!existsSync(file)) {
    await clock.advance(1000);
    await new Promise(setImmediate);
  }
  await agent.stop();
  await broker.start();
  const after = logger.lines.length;
  const second = startAgent();
  const { detail } = await logger.event('agent.state', { state: 'backing-off' }, after);
  expect(detail).toMatch(/^devices that start together .*; first try in \d+ s$/);
  await driveUntil(setup, second);
  await (await second).publishAndWait(MESSAGE, 1e9);
  await clock.advance(10_000); // it holds
  await expect
    .poll(() => JSON.parse(readFileSync(file, 'utf8')))
    .toEqual({ network: 0, operator: 0 });
});

test.each([
  {
    name: 'the authority says invalid_grant',
    error: 'invalid_grant',
    advice: /ask the operator whether this device is suspended, revoked/,
  },
  { name: 'the resource is unknown', error: 'invalid_target', advice: /check broker.resource/ },
  {
    name: 'the grant is not allowed',
    error: 'unauthorized_client',
    advice: /allow this device the jwt-bearer grant/,
  },
])(
  'revoked while online, $name: status says what an operator must do, and in a day it asks 60 times at most',
  async ({ error, advice }) => {
    const setup = await setUpAgent();
    const { authority, broker, clock, logger, startAgent } = setup;
    const agent = await startAgent();
    authority.answer = (path, response) => {
      if (path !== '/token') return false;
      response.writeHead(400).end(JSON.stringify({ error }));
      return true;
    };
    broker.returnCode = () => 4;
    const backingOff = logger.event('agent.state', { state: 'backing-off' });
    broker.kick();
    await driveUntil(setup, backingOff);
    while (!agent.status().needsOperator) {
      await clock.advance(1000);
      await new Promise(setImmediate);
    }
    expect(agent.status().detail).toMatch(advice);
    const levels = logger.lines.filter(({ fields }) => fields.event === 'agent.state');
    expect(levels.at(-1)?.level).toBe('error');
    const [asked, connects] = [authority.requests.length, broker.connects.length];
    for (let minute = 0; minute < 24 * 60; minute += 1) {
      await clock.advance(60_000);
      for (let i = 0; i < 3; i += 1) await new Promise(setImmediate);
    }
    expect(agent.status().needsOperator).toBe(true);
    expect(authority.requests.length - asked).toBeLessThanOrEqual(60);
    expect(authority.requests.length).toBeGreaterThan(asked); // and never gives up
    expect(broker.connects.length).toBe(connects); // without a token it does not even try
    authority.answer = () => false;
    broker.returnCode = () => 0;
    await driveUntil(setup, logger.event('agent.state', { state: 'online' }, logger.lines.length));
    expect(agent.status()).toMatchObject({ needsOperator: false, detail: undefined });
  },
);
