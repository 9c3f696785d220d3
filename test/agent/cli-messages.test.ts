import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { encodeCbor } from '../../agent/src/cbor.ts';
import { readLines } from '../../agent/src/cli/lines.ts';
import { runAgentCli } from '../helpers/agent-cli.ts';
import { setUpAgent } from '../helpers/agent-setup.ts';

const TOPIC = 'devices/t-42/telemetry/x';
const COMMAND = 'devices/t-42/commands/power';

async function setUp() {
  const setup = await setUpAgent();
  const publish = (input: string | Buffer, ...more: string[]) =>
    runAgentCli(['publish', TOPIC, '--state-dir', setup.stateDir, ...more], { input });
  /** Starts `subscribe` and resolves once the broker knows the filter. */
  const subscribe = async (...args: string[]) => {
    const subscribed = setup.broker.subscribed(COMMAND);
    const outcome = runAgentCli(['subscribe', COMMAND, '--state-dir', setup.stateDir, ...args]);
    await subscribed;
    return { outcome };
  };
  return { ...setup, publish, subscribe };
}

test('publish: each line of stdin is a message, in order, without its line end; blank ones are skipped', async () => {
  const { broker, startAgent, publish } = await setUp();
  await startAgent();
  expect(await publish('1\r\n\n2\n3', '--wait')).toEqual({ exitCode: 0, stdout: '', stderr: '' });
  expect(broker.publishes.map(({ payload }) => payload)).toEqual(['1', '2', '3']);
});

test('publish: 3000 lines', async () => {
  const { broker, startAgent, publish } = await setUp();
  await startAgent();
  const lines = Array.from({ length: 3000 }, (_, i) => `line ${i}`);
  expect((await publish(lines.join('\n'))).exitCode).toBe(0);
  await broker.published(TOPIC, 3000);
  expect(broker.publishes.map(({ payload }) => payload)).toEqual(lines);
});

test('publish: --whole takes all bytes as they are', async () => {
  const { broker, startAgent, publish } = await setUp();
  await startAgent();
  await publish('a\nb\n', '--whole', '--wait');
  expect(broker.publishes).toMatchObject([{ payload: 'a\nb\n' }]);
});

test('publish: --cbor writes JSON lines as CBOR, and goes on after one that is not JSON', async () => {
  const { broker, startAgent, publish } = await setUp();
  await startAgent();
  const { exitCode, stderr } = await publish('{"value":1}\nx\n[2]\n', '--cbor');
  expect([exitCode, stderr]).toEqual([2, 'line 2 not published: it is not JSON\n']);
  await broker.published(TOPIC, 2);
  expect(broker.publishes.map(({ payload }) => payload)).toEqual([
    encodeCbor({ value: 1 }).toString(),
    encodeCbor([2]).toString(),
  ]);
});

test('publish: a refused line is named, and exit code 1 tells it', async () => {
  const { authority, startAgent, stateDir } = await setUp();
  authority.scope = 'pub:devices/t-42/#';
  await startAgent();
  const args = ['publish', 'other', '--state-dir', stateDir];
  const { exitCode, stderr } = await runAgentCli(args, { input: 'a\nb' });
  expect(exitCode).toBe(1);
  expect(stderr).toMatch(/^line 1 not published: .*\nline 2 not published: .*\n$/);
});

test('publish: an empty input is told', async () => {
  const { startAgent, publish } = await setUp();
  await startAgent();
  expect(await publish('\n')).toMatchObject({
    exitCode: 0,
    stderr: expect.stringMatching(/nothing published/),
  });
});

test('publish: through a socket of the configuration, by its rules', async () => {
  const { startAgent, dir } = await setUp();
  await startAgent(`[[socket]]\npath = "app.sock"\npublish = ["${TOPIC}"]\n`);
  const publish = (topic: string) =>
    runAgentCli(['publish', topic, '--socket', join(dir, 'app.sock'), '--message', 'x']);
  expect((await publish(TOPIC)).exitCode).toBe(0);
  expect(await publish('other')).toMatchObject({
    exitCode: 1,
    stderr: expect.stringMatching(/rules of this socket/),
  });
});

test('subscribe: prints payloads, one a line, and ends after --count', async () => {
  const { broker, startAgent, subscribe } = await setUp();
  await startAgent();
  const { outcome } = await subscribe('--count', '2');
  for (const payload of ['on', 'off', 'never']) await broker.send(COMMAND, payload);
  expect(await outcome).toEqual({ exitCode: 0, stdout: 'on\noff\n', stderr: '' });
});

test('subscribe: --json tells topic, QoS and retain, and bytes in base64', async () => {
  const { broker, startAgent, subscribe } = await setUp();
  await startAgent();
  const bytes = await subscribe('--count', '1', '--json');
  await broker.send(COMMAND, Buffer.from([0xff]) as never, { qos: 0 });
  expect(JSON.parse((await bytes.outcome).stdout)).toEqual({
    ...{ topic: COMMAND, qos: 0, retain: false, payload_base64: '/w==' },
  });
  await broker.send(COMMAND, 'kept', { retain: true });
  const kept = await subscribe('--count', '1', '--json');
  expect(JSON.parse((await kept.outcome).stdout)).toEqual({
    ...{ topic: COMMAND, qos: 1, retain: true, payload: 'kept' },
  });
});

test('subscribe: --cbor prints JSON; what is no CBOR is told and printed as it is', async () => {
  const { broker, startAgent, subscribe } = await setUp();
  await startAgent();
  const { outcome } = await subscribe('--count', '2', '--cbor');
  await broker.send(COMMAND, encodeCbor({ value: 1.5 }) as never);
  await broker.send(COMMAND, 'plain');
  const { stdout, stderr } = await outcome;
  expect(stdout).toBe('{"value":1.5}\nplain\n');
  expect(stderr).toMatch(/is not CBOR/);
});

test('subscribe: --timeout ends with 1 when fewer than --count came, SIGINT with 0', async () => {
  const { clock, startAgent, stateDir } = await setUp();
  await startAgent();
  const args = ['subscribe', COMMAND, '--state-dir', stateDir];
  const late = runAgentCli([...args, '--count', '1', '--timeout', '7s'], { change: { clock } });
  await clock.untilSleeping(7000);
  await clock.advance(7000);
  expect((await late).exitCode).toBe(1);
  const ending = new AbortController();
  const ended = runAgentCli(args, { change: { signal: ending.signal } });
  ending.abort();
  expect((await ended).exitCode).toBe(0);
});

test('subscribe: refused is exit code 1 with the reason, no agent 3', async () => {
  const { authority, startAgent, stateDir } = await setUp();
  authority.scope = 'pub:a';
  const agent = await startAgent();
  const subscribe = () => runAgentCli(['subscribe', COMMAND, '--state-dir', stateDir]);
  expect(await subscribe()).toMatchObject({
    exitCode: 1,
    stderr: expect.stringMatching(/no right to subscribe/),
  });
  await agent.stop();
  expect(await subscribe()).toMatchObject({
    exitCode: 3,
    stderr: expect.stringMatching(/no agent runs.*start:/),
  });
});

test.each([
  { name: 'neither --state-dir nor --socket', args: ['subscribe', 'a'] },
  { name: 'both', args: ['publish', 'a', '--state-dir', 's', '--socket', 's'] },
  { name: 'no filter', args: ['subscribe', '--state-dir', 's'] },
  { name: 'a malformed filter', args: ['subscribe', 'a/#/b', '--state-dir', 's'] },
  { name: 'QoS 3', args: ['subscribe', 'a', '--qos', '3', '--state-dir', 's'] },
  { name: 'a count of 0', args: ['subscribe', 'a', '--count', '0', '--state-dir', 's'] },
  {
    name: '--whole --message',
    args: ['publish', 'a', '--whole', '--message', 'x', '--socket', 's'],
  },
])('$name: exit code 2 and a message', async ({ args }) => {
  const { exitCode, stdout, stderr } = await runAgentCli(args);
  expect([exitCode, stdout]).toEqual([2, '']);
  expect(stderr).not.toBe('');
});

test('lines come out whatever the chunks, and a line without end is refused', async () => {
  const bytes = fc.uint8Array({ maxLength: 20 });
  await fc.assert(
    fc.asyncProperty(fc.array(bytes), async (chunks) => {
      const stream = new PassThrough();
      for (const chunk of chunks) stream.write(Buffer.from(chunk));
      stream.end();
      const lines = [];
      for await (const line of readLines(stream, 1000)) lines.push(line.toString('latin1'));
      const all = Buffer.concat(chunks).toString('latin1');
      const expected = all.split('\n').map((line) => line.replace(/\r$/, ''));
      if (all === '' || all.endsWith('\n')) expected.pop();
      expect(lines).toEqual(expected);
    }),
  );
  const endless = new PassThrough();
  for (let count = 0; count < 11; count += 1) endless.write('x'.repeat(100));
  const read = async () => {
    for await (const _line of readLines(endless, 1000));
  };
  await expect(read()).rejects.toThrow(/exceeds 1000 bytes/);
});
