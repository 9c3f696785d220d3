/** Faults that last, and clocks that jump, on clocks that the tests drive; the table: docs/faults.md. */
import { expect, test } from 'vitest';
import { type DrivenAgent, type DrivenStack, startDrivenStack } from '../helpers/driven-stack.ts';

const TTL_SECONDS = 600;
const HOUR = 3600;
const DAY = 24 * HOUR;

const message = (payload: string) => ({
  topic: 'devices/t-42/telemetry/temperature',
  payload: Buffer.from(payload),
  qos: 1 as const,
  isRetained: false,
});

async function online(agent: DrivenAgent, stack: DrivenStack): Promise<void> {
  const before = agent.log.lines.length;
  if (agent.status().state === 'offline') agent.start();
  await agent.log.event('agent.state', { state: 'online' }, before);
  await stack.settle();
}

const refusals = ({ brokerLog }: DrivenStack) => brokerLog.all('connect.refused').length;

test('authority down at renewal: the session goes on, tries go on, and the first answer renews', async () => {
  const stack = await startDrivenStack();
  const agent = await stack.addAgent('t-42');
  await online(agent, stack);
  await stack.stopAuthority();
  await stack.advance(0.75 * TTL_SECONDS);
  expect(agent.status()).toMatchObject({
    state: 'renewing',
    detail: expect.stringMatching(/cannot reach .*; next try in \d+ s/),
  });
  await agent.publishAndWait(message('still here'), HOUR);
  expect(stack.heard).toEqual(['still here']);
  const { expiresAt = 0 } = agent.status().token ?? {};
  await stack.startAuthority();
  await stack.advance(0.2 * TTL_SECONDS);
  await expect.poll(() => agent.status().state, { timeout: 10_000 }).toBe('online'); // once it has closed and connected
  expect(agent.status().token?.expiresAt).toBeGreaterThan(expiresAt);
  expect(refusals(stack)).toBe(0);
});

test('authority down for a day: a device that may mint is heard every hour', async () => {
  const stack = await startDrivenStack({ maxStalenessSeconds: 2 * DAY });
  const agent = await stack.addAgent('t-42', { mayMint: true });
  await online(agent, stack);
  await stack.stopAuthority();
  for (let hour = 1; hour <= 24; hour += 1) {
    await stack.advance(HOUR);
    await agent.publishAndWait(message(`${hour}`), HOUR);
  }
  expect(stack.heard).toHaveLength(24);
  expect(agent.log.all('token.minted').length).toBeGreaterThan(DAY / TTL_SECONDS);
  expect(refusals(stack)).toBe(0);
  const minted = agent.log.all('token.minted').length;
  await stack.startAuthority();
  await stack.advance(HOUR);
  expect(agent.status().state).toBe('online');
  expect(agent.log.all('token.minted').length).toBe(minted);
});

test('authority down for a day: a device that may not mint says why it waits, and sends what it kept', async () => {
  const stack = await startDrivenStack();
  const agent = await stack.addAgent('t-42');
  await online(agent, stack);
  await stack.stopAuthority();
  const kept: string[] = [];
  for (let hour = 1; hour <= 24; hour += 1) {
    await stack.advance(HOUR);
    expect(agent.status()).toMatchObject({
      state: 'backing-off',
      detail: expect.stringMatching(/cannot reach .*; next try in \d+ s/),
    });
    kept.push(`${hour}`);
    await agent.publish(message(`${hour}`));
  }
  expect([...stack.heard, refusals(stack)]).toEqual([0]);
  const before = stack.requests.length;
  expect(before).toBeLessThan(DAY / 55); // the mean of waits of up to two minutes
  await stack.startAuthority();
  await stack.advance(120);
  await expect.poll(() => stack.heard, { timeout: 10_000 }).toEqual(kept);
  expect(stack.requests.length - before).toBeLessThan(5);
});

test('authority down for longer than the broker trusts its replica: the agent says why it waits, and comes back', async () => {
  const stack = await startDrivenStack({ maxStalenessSeconds: HOUR });
  const agent = await stack.addAgent('t-42', { mayMint: true });
  await online(agent, stack);
  await stack.stopAuthority();
  await stack.advance(0.9 * HOUR);
  await agent.publishAndWait(message('minted'), HOUR);
  await stack.advance(HOUR);
  expect(agent.status()).toMatchObject({
    state: 'backing-off',
    detail: expect.stringMatching(/broker unavailable; next try in \d+ s/),
  });
  await agent.publish(message('kept'));
  await stack.startAuthority();
  // The broker has to hear of the authority first, and waits as long as the agent may between tries.
  const latestAt = stack.clock.now() + HOUR;
  while (agent.status().state !== 'online' && stack.clock.now() < latestAt) await stack.advance(30);
  await expect.poll(() => stack.heard, { timeout: 10_000 }).toEqual(['minted', 'kept']);
});

test('token expired while asleep: noticed within 5 s of waking, and the expired one is never shown', async () => {
  const stack = await startDrivenStack();
  const agent = await stack.addAgent('t-42', { clockShows: stack.clock.now() });
  await online(agent, stack);
  await agent.publishAndWait(message('evening'), HOUR);
  agent.clock.suspend(8 * HOUR * 1000);
  await stack.clock.advance(8 * HOUR * 1000);
  await agent.publish(message('morning'));
  await stack.advance(6);
  await expect.poll(() => stack.heard, { timeout: 10_000 }).toEqual(['evening', 'morning']);
  expect(refusals(stack)).toBe(0);
  expect(agent.status().token?.expiresAt).toBeGreaterThan(stack.clock.now());
});

test('clock back and forth: sessions, renewals and messages go on as if nothing had happened', async () => {
  const stack = await startDrivenStack();
  const agent = await stack.addAgent('t-42', { clockShows: 0 });
  await online(agent, stack);
  const right = () => stack.clock.now();
  const jumps = [
    () => 0,
    () => right() + 600,
    () => right() - 600,
    () => 2 ** 31 - 30,
    () => right() + 30 * DAY,
    right,
  ];
  for (const [i, jump] of jumps.entries()) {
    agent.clock.set(jump());
    await stack.advance(5);
    await agent.publishAndWait(message(`${i} at once`), HOUR);
    await stack.advance(TTL_SECONDS);
    await agent.publishAndWait(message(`${i} later`), HOUR);
    const leftSeconds = (agent.status().token?.expiresAt ?? 0) - right();
    expect(leftSeconds).toBeGreaterThan(0);
    expect(leftSeconds).toBeLessThanOrEqual(TTL_SECONDS);
  }
  expect(stack.heard).toHaveLength(2 * jumps.length);
  expect(refusals(stack)).toBe(0);
  expect(agent.status().counters).toMatchObject({ dropped: 0, refused: 0 });
  expect(stack.requests.length).toBeLessThan(3 * jumps.length);
});
