/** A disk that is full or takes no writing, with real processes; the table: docs/faults.md. */
import { once } from 'node:events';
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type AgentStack, type StackDevice, startAgentStack } from '../helpers/agent-stack.ts';
import type { Running } from '../helpers/processes.ts';
import { mountSmallDisk, mountWornDisk } from '../helpers/small-disk.ts';

const TOPIC = 'devices/t-42/telemetry/temperature';
const isOnline = ({ state }: Record<string, unknown>) => state === 'online';
const states = (agent: Running) =>
  agent.lines.flatMap((line) => /"state":"([a-z-]+)"/.exec(line)?.[1] ?? []);

async function hear(stack: AgentStack): Promise<readonly string[]> {
  const heard: string[] = [];
  await stack.listen((_topic, payload) => heard.push(payload));
  return heard;
}

/** Publishes until a message is refused; returns those that were accepted, and why the last was not. */
async function publishUntilRefused({ socket }: StackDevice) {
  const accepted: string[] = [];
  for (let i = 0; i < 1000; i += 1) {
    const payload = `${i}`.padEnd(50_000, '.');
    const answer = await socket.publish({ topic: TOPIC, payload });
    if (answer?.status !== 202) return { accepted, answer };
    accepted.push(payload);
  }
  throw new Error('the disk took everything');
}

test('disk full: messages are refused with the reason, the connection stays, and none that was accepted is lost', async (context) => {
  const disk = mountSmallDisk(context);
  const stack = await startAgentStack();
  const heard = await hear(stack);
  const device = await stack.enroll('t-42', join(disk.path, 'state'));
  const agent = device.start();
  await agent.event('agent.state', isOnline);
  disk.fill();
  const { accepted, answer } = await publishUntilRefused(device);
  expect(answer).toMatchObject({
    status: 507,
    body: { error: 'outbox_full', error_description: expect.stringMatching(/full/) },
  });
  await expect.poll(() => heard, { timeout: 10_000 }).toEqual(accepted);
  expect(states(agent).at(-1)).toBe('online');
  disk.free();
  expect(await device.socket.publish({ topic: TOPIC, payload: 'again' })).toMatchObject({
    status: 202,
  });
  await expect.poll(() => heard.at(-1), { timeout: 10_000 }).toBe('again');
  expect(states(agent).filter((state) => state === 'connecting')).toHaveLength(1);
  expect(await agent.stop()).toBe(0);
});

test.for(['SIGTERM', 'SIGKILL'] as const)(
  'disk full at start, after %s: comes online, sends what it had kept, and takes messages once there is room',
  async (name, context) => {
    const disk = mountSmallDisk(context);
    const stack = await startAgentStack();
    const device = await stack.enroll('t-42', join(disk.path, 'state'));
    const first = device.start();
    await first.event('agent.state', isOnline);
    await stack.broker.stop('SIGKILL');
    const kept = ['a', 'b', 'c'];
    for (const payload of kept) await device.socket.publish({ topic: TOPIC, payload });
    await first.stop(name);
    disk.fill();
    await stack.startBroker();
    const heard = await hear(stack);
    const agent = device.start();
    await agent.event('agent.state', isOnline);
    await expect.poll(() => heard, { timeout: 10_000 }).toEqual(kept);
    const { answer } = await publishUntilRefused(device);
    expect(answer).toMatchObject({ status: 507 });
    disk.free();
    const done = { topic: TOPIC, payload: 'again', wait: true };
    expect(await device.socket.publish(done)).toMatchObject({ status: 200 });
  },
);

test('the disk becomes read-only: messages are refused, the connection stays, and a restart says what is wrong', async (context) => {
  const disk = mountWornDisk(context);
  chmodSync(disk.path, 0o700);
  const stack = await startAgentStack();
  const heard = await hear(stack);
  const device = await stack.enroll('t-42', join(disk.path, 'state'));
  const agent = device.start();
  await agent.event('agent.state', isOnline);
  const before = { topic: TOPIC, payload: 'before', wait: true };
  expect(await device.socket.publish(before)).toMatchObject({ status: 200 });
  disk.fail();
  expect(await device.socket.publish({ topic: TOPIC, payload: 'after' })).toMatchObject({
    status: 507,
    body: { error: 'outbox_full' },
  });
  await agent.event('outbox.failed');
  expect(states(agent).at(-1)).toBe('online');
  expect(heard).toEqual(['before']);
  expect(await agent.stop()).toBe(0);

  const again = device.start();
  await once(again.child, 'close');
  expect(again.lines.at(-1)).toMatch(/read-?only/);
  expect(again.child.exitCode).toBe(2);
});
