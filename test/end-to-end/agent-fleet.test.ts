/** A fleet that comes, renews and returns: the waits spread it. `npm run bench -- fleet` has 1,000 agents. */
import { expect, test } from 'vitest';
import { type DrivenAgent, startDrivenStack } from '../helpers/driven-stack.ts';
import { seededRandom } from '../helpers/seeded-random.ts';

const AGENTS = 50;
const TTL_SECONDS = 600;
const OUTAGE_SECONDS = 60;

/** How many fall into each span of so many seconds, from the first to the last; 0 where none does. */
function countsPer(seconds: number, instants: readonly number[]): number[] {
  const first = Math.min(...instants);
  const counts: number[] = [];
  for (const at of instants) {
    const span = Math.floor((at - first) / seconds);
    while (counts.length <= span) counts.push(0);
    counts[span] = (counts[span] ?? 0) + 1;
  }
  return counts;
}

const waitSeconds = (agent: DrivenAgent): number =>
  Number(/next try in (\d+) s/.exec(agent.status().detail ?? '')?.[1] ?? 0);

test('50 agents: renewals spread, and after an outage of the broker all are back within the longest wait', async () => {
  const stack = await startDrivenStack();
  const agents: DrivenAgent[] = [];
  for (let i = 0; i < AGENTS; i += 1) {
    const options = { random: seededRandom(i), config: 'renewal = "session"\n' };
    agents.push(await stack.addAgent(`t-${i}`, options));
  }
  const areOnline = () => agents.every((agent) => agent.status().state === 'online');
  for (const agent of agents) agent.start(); // all in the same second, as after a power cut
  await expect
    .poll(() => agents.some((agent) => agent.status().state === 'offline'), { timeout: 30_000 })
    .toBe(false);
  await stack.clock.advance(5000); // the broker waits for the news of who enrolled
  await expect.poll(areOnline, { timeout: 30_000 }).toBe(true);

  const before = stack.requests.length;
  await stack.advance(4 * TTL_SECONDS);
  await expect.poll(areOnline, { timeout: 30_000 }).toBe(true);
  const renewals = stack.requests.slice(before).filter(({ path }) => path === '/token');
  expect(renewals.length).toBeGreaterThanOrEqual(4 * AGENTS);
  expect(renewals.length).toBeLessThanOrEqual(7 * AGENTS);
  // Spread over 120 s from the first time on: five in ten seconds at the mean, and never half of them.
  const perTenSeconds = countsPer(
    10,
    renewals.map(({ at }) => at),
  );
  expect(Math.max(...perTenSeconds)).toBeLessThan(AGENTS / 3);
  expect(agents.every((agent) => agent.status().counters.connections === 1)).toBe(true);

  const backAt: number[] = [];
  await stack.stopBroker();
  await stack.advance(OUTAGE_SECONDS);
  await stack.startBroker();
  const longest = Math.max(...agents.map(waitSeconds));
  expect(longest).toBeLessThanOrEqual(120);
  const restartedAt = stack.clock.now();
  for (let count = 0; stack.clock.now() <= restartedAt + longest + 5; ) {
    await stack.advance(5);
    const now = agents.filter((agent) => agent.status().state === 'online').length;
    for (; count < now; count += 1) backAt.push(stack.clock.now());
  }
  expect(backAt).toHaveLength(AGENTS);
  expect(Math.max(...countsPer(5, backAt))).toBeLessThan(AGENTS / 2);
});
