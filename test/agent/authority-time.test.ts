/** Wrong, jumping and missing clocks: DESIGN 7 and 8, STANDARDS 2.3. */
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createAuthorityTime, learnTimeFrom, openTokenCache } from '@latchkey/agent/daemon';
import { createHttpClient, formatInstant, parseIssuer } from '@latchkey/shared';
import { decodeJwt } from 'jose';
import { expect, onTestFinished, test } from 'vitest';
import { runAgentCli } from '../helpers/agent-cli.ts';
import { setUpAgent } from '../helpers/agent-setup.ts';
import { createCapturedLog } from '../helpers/captured-log.ts';
import { createDrivenClock } from '../helpers/driven-clock.ts';

const T0 = 1_760_000_000;

function setUp(showsSeconds = T0) {
  const machine = createDrivenClock(showsSeconds);
  const logger = createCapturedLog();
  return { machine, logger, time: createAuthorityTime({ machine, logger }) };
}

test.each([
  { name: '1970', shows: 0 },
  { name: '1980, as some modules without a battery', shows: 315_532_800 },
  { name: 'ten minutes behind', shows: T0 - 600 },
  { name: 'two minutes behind', shows: T0 - 120 },
  { name: 'right', shows: T0 },
  { name: 'ten minutes ahead', shows: T0 + 600 },
  { name: 'a local time that was taken for UTC', shows: T0 + 7200 },
  { name: '2038, the last second of 31 bits', shows: 2 ** 31 - 1 },
  { name: '2038, a second later', shows: 2 ** 31 },
])(
  'a clock that shows $name: the first answer tells the time, and it runs on',
  async ({ shows }) => {
    const { machine, time } = setUp(shows);
    expect([time.isKnown, time.now()]).toEqual([false, shows]);
    time.learn(T0, machine.elapsedMs());
    expect(Math.abs(time.now() - T0)).toBeLessThanOrEqual(1);
    expect(Math.abs(time.aheadSeconds() - (shows - T0))).toBeLessThanOrEqual(1);
    await machine.advance(900_000);
    expect(Math.abs(time.now() - T0 - 900)).toBeLessThanOrEqual(1);
  },
);

test.each([
  { name: 'as the header says', offMs: 0, isKept: true },
  { name: 'at the end of that second and the slack', offMs: 2000, isKept: true },
  { name: 'beyond it', offMs: 2001, isKept: false },
  { name: 'a slack before it', offMs: -1000, isKept: true },
  { name: 'before that', offMs: -1001, isKept: false },
])('a time that is $name is kept: $isKept', ({ offMs, isKept }) => {
  const { machine, time } = setUp(T0);
  time.learn(T0 - offMs / 1000, machine.elapsedMs());
  expect(time.nowMs() === T0 * 1000).toBe(isKept);
  expect(time.isKnown).toBe(true);
});

test('a slow answer is given its time: what may be right is not corrected', async () => {
  const { machine, time } = setUp(T0);
  const sentAtMs = machine.elapsedMs();
  await machine.advance(8000);
  time.learn(T0, sentAtMs);
  expect(time.nowMs()).toBe(T0 * 1000 + 8000);
});

test.each([
  { name: 'ten minutes ahead', by: 600 },
  { name: 'ten minutes back', by: -600 },
  { name: 'to 1970', by: -T0 },
  { name: 'to 2038', by: 2 ** 31 - T0 },
])('a clock that is set $name changes nothing, and it is told', ({ by }) => {
  const { machine, logger, time } = setUp();
  time.learn(T0, machine.elapsedMs());
  machine.set(T0 + by);
  expect(time.now()).toBe(T0);
  expect(time.aheadSeconds()).toBe(by);
  expect(logger.all('clock.set')).toEqual([{ event: 'clock.set', seconds: by }]);
  expect(logger.all('clock.suspended')).toEqual([]);
});

test('a suspension is part of the time, and is told apart from a clock that was set', () => {
  const { machine, logger, time } = setUp();
  time.learn(T0, machine.elapsedMs());
  machine.suspend(3_600_000);
  expect(time.now()).toBe(T0 + 3600);
  expect(logger.all('clock.suspended')).toMatchObject([{ seconds: 3600 }]);
  machine.suspend(60_000);
  machine.set(machine.now() - 86_400);
  expect(time.now()).toBe(T0 + 3660);
  expect(logger.all('clock.suspended').at(-1)).toMatchObject({ seconds: 60 });
  expect(logger.all('clock.set')).toMatchObject([{ seconds: -86_400 }]);
});

test('before the authority answered, a clock that is set is followed', () => {
  const { machine, time } = setUp(0);
  machine.set(T0);
  expect(time.now()).toBe(T0);
});

test.each([
  { name: '59 s ahead', ahead: 59, isTold: false },
  { name: '60 s ahead', ahead: 60, isTold: true },
  { name: '60 s behind', ahead: -60, isTold: true },
])('a clock that is $name is told in the log: $isTold', ({ ahead, isTold }) => {
  const { machine, logger, time } = setUp(T0 + ahead);
  for (let i = 0; i < 3; i += 1) time.learn(T0, machine.elapsedMs());
  const lines = logger.all('clock.compared');
  expect(lines.length).toBe(isTold ? 1 : 0);
  if (isTold) expect(Math.abs(Number(lines[0]?.aheadSeconds) - ahead)).toBeLessThanOrEqual(1);
  machine.set(T0);
  time.learn(T0, machine.elapsedMs());
  if (isTold) expect(logger.all('clock.compared').at(-1)).toMatchObject({ aheadSeconds: 0 });
});

test.each([
  { name: 'a date', headers: { date: '@' }, path: '/', isLearned: true },
  { name: 'an age of 0', headers: { date: '@', age: '0' }, path: '/', isLearned: true },
  { name: 'an answer of a cache', headers: { date: '@', age: '1' }, path: '/', isLearned: false },
  { name: 'no date', headers: {}, path: '/', isLearned: false },
  { name: 'a date that is none', headers: { date: 'soon' }, path: '/', isLearned: false },
])('$name teaches the time: $isLearned', async ({ headers, isLearned }) => {
  const server = createServer((_request, response) => {
    response.sendDate = false;
    for (const [name, value] of Object.entries(headers)) {
      response.setHeader(name, value === '@' ? new Date(T0 * 1000).toUTCString() : value);
    }
    response.end();
  }).listen(0, '127.0.0.1');
  onTestFinished(() => void server.close());
  await new Promise((resolve) => server.once('listening', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const { time } = setUp(0);
  const request = { method: 'GET', url } as const;
  const other = learnTimeFrom(createHttpClient(), parseIssuer('https://id.example'), time);
  await other.request(request);
  expect(time.isKnown).toBe(false); // somebody else's clock
  await learnTimeFrom(createHttpClient(), parseIssuer(url), time).request(request);
  expect(time.isKnown).toBe(isLearned);
});

/** The authority shows `T0` and what elapses; the machine something else. */
async function setUpWrong(aheadSeconds: number) {
  const setup = await setUpAgent();
  const { authority, clock } = setup;
  authority.aheadSeconds = -aheadSeconds;
  clock.set(clock.now() + aheadSeconds);
  return setup;
}

test.each([
  { name: '1970', ahead: -T0 },
  { name: 'ten minutes behind', ahead: -600 },
  { name: 'ten minutes ahead', ahead: 600 },
  { name: '2038', ahead: 2 ** 31 - T0 },
])(
  'an agent on a clock that shows $name comes online with its first assertion, and renews',
  async ({ ahead }) => {
    const { authority, broker, clock, startAgent, stateDir } = await setUpWrong(ahead);
    const agent = await startAgent();
    const [first] = authority.assertions;
    expect(Math.abs(Number(decodeJwt(first as string).iat) - T0)).toBeLessThanOrEqual(1);
    expect(authority.assertions.length).toBe(1);
    expect(Math.abs((agent.status().token?.expiresAt ?? 0) - T0 - 900)).toBeLessThanOrEqual(1);
    await clock.untilSleeping(2000);
    await clock.advance(631_500);
    await broker.connected(2);
    expect(authority.assertions.length).toBe(2);
    expect(statSync(join(stateDir, 'time.json')).mode & 0o777).toBe(0o600);
  },
);

test.each([
  { name: 'ten minutes ahead', by: 600 },
  { name: 'ten minutes back', by: -600 },
  { name: 'back to 1970', by: -T0 },
])('a clock that is set $name while online moves no renewal', async ({ by }) => {
  const { authority, broker, clock, logger, startAgent } = await setUpAgent();
  await startAgent();
  await clock.untilSleeping(2000);
  await clock.advance(300_000);
  authority.aheadSeconds = -by;
  clock.set(clock.now() + by);
  await clock.advance(5000);
  expect(logger.all('clock.set')).toMatchObject([{ seconds: by }]);
  await clock.advance(324_000);
  expect(broker.connects.length).toBe(1);
  await clock.advance(5000); // 630 s of 900 s
  await broker.connected(2);
  expect(authority.issued.length).toBe(2);
});

test('a suspension past the renewal is noticed within 5 s, and the next token is obtained', async () => {
  const { authority, broker, clock, logger, startAgent } = await setUpAgent();
  await startAgent();
  await clock.untilSleeping(2000);
  clock.suspend(3_600_000); // and the token ended meanwhile
  await clock.advance(5000);
  await broker.connected(2);
  expect(authority.issued.length).toBe(2);
  expect(broker.connects[1]?.password).toBe(authority.issued[1]?.text);
  expect(logger.all('clock.suspended')).toMatchObject([{ seconds: 3600 }]);
});

test('the next run on the same start of the machine knows the time without asking', async () => {
  const { authority, broker, clock, startAgent } = await setUpWrong(-T0);
  const agent = await startAgent();
  await agent.stop();
  const asked = authority.requests.length;
  clock.set(2 ** 31);
  await clock.advance(60_000);
  await startAgent();
  expect(authority.requests.length).toBe(asked);
  expect(broker.connects.map(({ password }) => password)).toEqual(
    Array(2).fill(authority.issued[0]?.text),
  );
});

const fileOf = (stateDir: string) => join(stateDir, 'time.json');
test.each([
  { name: 'after another start of the machine', change: { boot_id: 'another' } },
  { name: 'with less uptime than the file says', change: { uptime_ms: 1e12 } },
  { name: 'with a file that was changed', change: { at_start_ms: 'x' } },
])(
  '$name the authority is asked before a cached token is believed to be good',
  async ({ change }) => {
    const { authority, broker, clock, startAgent, stateDir } = await setUpAgent();
    const agent = await startAgent();
    await agent.stop();
    const held = JSON.parse(readFileSync(fileOf(stateDir), 'utf8'));
    writeFileSync(fileOf(stateDir), JSON.stringify({ ...held, ...change }));
    // Off for an hour; the clock goes on where it stood, as it does without a battery.
    const shown = clock.now() + 10;
    authority.aheadSeconds = 3600;
    clock.set(shown);
    await startAgent();
    expect(broker.connects.map(({ password }) => password)).toEqual(
      authority.issued.map(({ text }) => text),
    );
    expect(authority.issued.length).toBe(2);
  },
);

test('without an answer the cached token is used by the clock that there is, and the question comes once', async () => {
  const { authority, broker, startAgent, stateDir } = await setUpAgent();
  await (await startAgent()).stop();
  writeFileSync(fileOf(stateDir), '{}');
  await authority.stop();
  await startAgent();
  expect(broker.connects.length).toBe(2);
  expect(broker.connects[1]?.password).toBe(authority.issued[0]?.text);
});

test('an assertion that was refused because the clock was wrong is tried once more, by the right one', async () => {
  const { authority, broker, clock, startAgent } = await setUpAgent();
  await startAgent();
  await clock.untilSleeping(2000);
  authority.aheadSeconds = 1000; // the authority was corrected
  let refused = 0;
  authority.answer = (path, response) => {
    if (path !== '/token' || refused > 0) return false;
    refused += 1;
    response.writeHead(400).end('{"error":"invalid_grant","error_description":"clock"}');
    return true;
  };
  await clock.advance(631_000);
  await broker.connected(2);
  expect(Number(decodeJwt(authority.assertions.at(-1) as string).iat)).toBeGreaterThan(
    clock.now() + 990,
  );
});

test('a refusal that the clock does not explain is not tried again at once', async () => {
  const { authority, clock, startAgent, logger } = await setUpAgent();
  const agent = await startAgent();
  authority.answer = (path, response) => {
    if (path !== '/token') return false;
    response.writeHead(400).end('{"error":"invalid_grant"}');
    return true;
  };
  await clock.untilSleeping(2000);
  const before = authority.requests.length;
  await clock.advance(631_000);
  await logger.event('agent.state', { state: 'renewing' });
  while (!agent.status().detail) await new Promise(setImmediate);
  expect(authority.requests.length).toBe(before + 1);
});

test.each([
  { name: 'in 1970', ahead: -T0 },
  { name: 'in 2038', ahead: 2 ** 31 - T0 },
])(
  'enroll, token and status work with a clock $name, and status tells how wrong it is',
  async ({ ahead }) => {
    const { authority, clock, dir, startAgent, stateDir } = await setUpWrong(ahead);
    const stateDir2 = join(dir, 'second');
    const { code, issuer } = authority;
    const run = async (...args: readonly string[]) => {
      const { exitCode, stdout, stderr } = await runAgentCli(args, {
        input: code,
        change: { clock },
      });
      expect(stderr + exitCode).toMatch(/^(enrolled as .*\n)?0$/);
      return stdout;
    };
    const who = ['--authority', issuer, '--client-id', 't-43', '--code-file', '-'];
    await run('enroll', ...who, '--state-dir', stateDir2);
    expect((await run('token', '--state-dir', stateDir2)).trim()).toBe(authority.issued[0]?.text);
    expect(authority.assertions.length).toBe(1);
    await startAgent();
    const status = JSON.parse(await run('status', '--json', '--state-dir', stateDir));
    expect(Math.abs(status.clock_ahead_seconds - ahead)).toBeLessThanOrEqual(1);
  },
);

test('a cached token is the same whatever the clock of the machine said', async () => {
  const { startAgent, stateDir } = await setUpWrong(2 ** 31 - T0);
  await startAgent();
  const cache = await openTokenCache(stateDir);
  const [entry] = JSON.parse(readFileSync(join(stateDir, 'tokens.json'), 'utf8')).tokens;
  expect(formatInstant(entry.expires_at).slice(0, 4)).toBe('2025');
  expect(cache.get({ resource: entry.resource }, T0 + 10)?.accessToken).toBe(entry.access_token);
});
