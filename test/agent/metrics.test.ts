import { join } from 'node:path';
import { expect, test } from 'vitest';
import { setUpAgent } from '../helpers/agent-setup.ts';
import { askSocket } from '../helpers/local-api.ts';

const TOPIC = 'devices/t-42/telemetry/x';

async function setUp() {
  const setup = await setUpAgent();
  const metrics = async () => {
    const answer = await askSocket(join(setup.stateDir, 'agent.sock'), 'GET', '/metrics');
    expect(answer).toMatchObject({
      status: 200,
      headers: { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' },
    });
    return answer.text;
  };
  return { ...setup, metrics };
}

test('the text follows the format: help, type and samples of each metric, each once', async () => {
  const { startAgent, metrics } = await setUp();
  await startAgent();
  const text = await metrics();
  expect(text).toMatch(
    /^(# HELP (\w+) .+\n# TYPE \2 (gauge|counter)\n(\2(\{\w+="[\w-]+"\})? [\d.]+\n)+)+$/,
  );
  const names = [...text.matchAll(/^# TYPE (\w+) (\w+)$/gm)];
  expect(new Set(names.map(([, name]) => name)).size).toBe(names.length);
  for (const [, name = '', type] of names) expect(name.endsWith('_total')).toBe(type === 'counter');
});

test('state, connection, outbox and counters are told, online and offline', async () => {
  const { broker, clock, logger, startAgent, metrics } = await setUp();
  const agent = await startAgent();
  const message = { topic: TOPIC, payload: Buffer.from('x'), qos: 1, isRetained: false } as const;
  await agent.publishAndWait(message, 1e9);
  const online = await metrics();
  for (const line of [
    'latchkey_agent_state{state="online"} 1',
    'latchkey_agent_state{state="stopped"} 0',
    'latchkey_agent_connected 1',
    'latchkey_agent_outbox_messages 0',
    'latchkey_agent_outbox_oldest_age_seconds 0',
    'latchkey_agent_connections_total 1',
    'latchkey_agent_clock_ahead_seconds 0',
    'latchkey_agent_published_total 1',
    `latchkey_agent_token_expires_at_seconds ${clock.now() + 900}`,
  ]) {
    expect(online).toContain(`${line}\n`);
  }
  const lost = logger.event('agent.state', { state: 'backing-off' });
  await broker.stop();
  await lost;
  await agent.publish(message);
  await agent.publish(message);
  await clock.advance(7000);
  const offline = await metrics();
  expect(offline).toContain('latchkey_agent_connected 0\n');
  expect(offline).toContain('latchkey_agent_outbox_messages 2\n');
  expect(offline).toMatch(/latchkey_agent_outbox_oldest_age_seconds [78]\n/);
});

test('no topic, filter or client id becomes a label', async () => {
  const { startAgent, metrics } = await setUp();
  const agent = await startAgent();
  await agent.publish({ topic: TOPIC, payload: Buffer.from('x'), qos: 1, isRetained: false });
  expect(await metrics()).not.toMatch(/t-42|telemetry/);
});
