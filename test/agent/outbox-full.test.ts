/** The outbox in a real agent on a disk that is full, where none can be mounted. I10, I11, DESIGN 8. */
import { writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { enroll } from '@latchkey/agent/daemon';
import { createHttpClient, systemClock } from '@latchkey/shared';
import { expect, test } from 'vitest';
import { startAedesBroker } from '../helpers/aedes-broker.ts';
import { CLIENT_ID } from '../helpers/agent-setup.ts';
import { startProgram, temporaryDir } from '../helpers/processes.ts';
import { startTokenServer } from '../helpers/token-server.ts';

async function setUp() {
  const authority = await startTokenServer(systemClock);
  const broker = await startAedesBroker();
  const dir = temporaryDir();
  const stateDir = join(dir, 'state');
  const { issuer, code } = authority;
  await enroll(
    { stateDir, issuer, clientId: CLIENT_ID, readCode: async () => code },
    { http: createHttpClient(), clock: systemClock },
  );
  const config = join(dir, 'agent.toml');
  writeFileSync(config, `state_dir = "state"\n[broker]\nurl = "${broker.url}"\n`);
  const socketPath = join(stateDir, 'agent.sock');
  return {
    broker,
    start: (options?: { readonly maxFileKib: number }) =>
      startProgram('latchkey-agent', ['run', '--config', config], options),
    /** Status code of the answer; `undefined` when there was none. */
    publish: (topic: string, payload: string) =>
      new Promise<number | undefined>((resolve) => {
        const outgoing = request(
          { socketPath, method: 'POST', path: '/publish', agent: false },
          (response) => {
            text(response).then(
              () => resolve(response.statusCode),
              () => resolve(undefined),
            );
          },
        );
        outgoing.once('error', () => resolve(undefined));
        outgoing.end(JSON.stringify({ topic, payload }));
      }),
  };
}

const isOnline = ({ state }: Record<string, unknown>) => state === 'online';

test('on a full disk messages are refused, the connection stays, and none that was accepted is lost', async () => {
  const { broker, publish, start } = await setUp();
  const agent = start({ maxFileKib: 512 });
  await agent.event('agent.state', isOnline);
  await broker.stop();
  await agent.event('agent.state', ({ state }) => state === 'backing-off');
  const accepted: string[] = [];
  let status: number | undefined = 202;
  for (let i = 0; status === 202; i += 1) {
    const payload = `${i}`.padEnd(10_000, '.');
    status = await publish('a/b', payload);
    if (status === 202) accepted.push(payload);
  }
  expect(status).toBe(507);
  expect(accepted.length).toBeGreaterThan(10);
  await agent.event('outbox.failed');
  await broker.start();
  await broker.published('a/b', accepted.length);
  expect(broker.publishes.map(({ payload }) => payload)).toEqual(accepted);
  while ((await publish('a/b', 'again')) !== 202); // once room is made
  await broker.published('a/b', accepted.length + 1);
  expect(await agent.stop()).toBe(0);
});
