/** A rotation beside a running agent, with the real authority and a broker that follows the trust feed. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { startLiveStack } from '../helpers/live-stack.ts';
import { mustRun, startProgram } from '../helpers/processes.ts';

const isOnline = ({ state }: Record<string, unknown>) => state === 'online';

test('the agent stays online through a rotation by another process, and goes on with the new key', async () => {
  const stack = await startLiveStack({ hasFeed: true });
  const stateDir = await stack.enroll('t-42');
  const config = join(stack.dir, 'agent.toml');
  writeFileSync(config, `state_dir = "${stateDir}"\n[broker]\nurl = "${stack.resource}"\n`);
  const agent = startProgram('latchkey-agent', ['run', '--config', config]);
  await agent.event('agent.state', isOnline);
  const kid = () => JSON.parse(readFileSync(join(stateDir, 'identity.json'), 'utf8')).kid as string;
  const old = kid();

  await mustRun('latchkey-agent', ['key', 'rotate', '--state-dir', stateDir]);
  expect(kid()).not.toBe(old);
  const publish = () =>
    mustRun('latchkey-agent', [
      ...['publish', 'devices/t-42/telemetry/x', '--message', 'x', '--wait'],
      ...['--state-dir', stateDir],
    ]);
  await publish();
  expect(agent.lines.filter((line) => line.includes('"online"'))).toHaveLength(1);

  // Its token is void, so it needs another one, which only the new key gets.
  const before = agent.lines.length;
  await stack.latchkey('device', 'void-tokens', 't-42', '--yes');
  const isNews = (line: string) => agent.lines.indexOf(line, before) >= before;
  await agent.line((line) => isNews(line) && line.includes('"key.replaced"'));
  await agent.line((line) => isNews(line) && line.includes('"online"'));
  await publish();
  const status = await mustRun('latchkey-agent', ['status', '--json', '--state-dir', stateDir]);
  expect(JSON.parse(status)).toMatchObject({ kid: kid() });
  expect(await agent.stop()).toBe(0);
});
