/** SIGTERM: what waits goes out, within a bound; the rest stays on disk. */
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { startAedesBroker } from '../helpers/aedes-broker.ts';
import { setUpAgent } from '../helpers/agent-setup.ts';
import { enrollDevice } from '../helpers/enrolled-device.ts';
import { mustRun, startProgram } from '../helpers/processes.ts';

test('all that was accepted before the end reaches the broker, in order', async () => {
  const setup = await setUpAgent();
  const agent = await setup.startAgent();
  const topics = Array.from({ length: 200 }, (_, index) => `a/${index}`);
  await Promise.all(
    topics.map((topic) =>
      agent.publish({ topic, payload: Buffer.from('x'), qos: 1, isRetained: false }),
    ),
  );
  expect(setup.broker.publishes.length).toBeLessThan(topics.length);
  expect(await agent.stop()).toBe('aborted');
  expect(setup.broker.publishes.map(({ topic }) => topic)).toEqual(topics);
});

test('offline it does not wait', async () => {
  const setup = await setUpAgent();
  const agent = await setup.startAgent();
  await setup.broker.stop();
  await setup.logger.event('agent.state', { state: 'backing-off' });
  await agent.publish({ topic: 'a', payload: Buffer.from('x'), qos: 1, isRetained: false });
  expect(await agent.stop()).toBe('aborted'); // though the clock stands still
});

/** Accepts every CONNECT and says nothing more. */
async function startSilentBroker(): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('data', () => socket.write(Buffer.from([0x20, 2, 0, 0])));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `mqtt://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test('a broker that never acknowledges is waited for as long as the configuration says', async () => {
  const { stateDir, config } = await enrollDevice();
  const start = (url: string) => {
    writeFileSync(
      config,
      `state_dir = "state"\n[broker]\nurl = "${url}"\n[outbox]\nflush_seconds = 0.3\n`,
    );
    return startProgram('latchkey-agent', ['run', '--config', config]);
  };
  const first = start(await startSilentBroker());
  await first.event('agent.state', ({ state }) => state === 'online');
  await mustRun('latchkey-agent', ['publish', 'a/b', '--message', 'x', '--state-dir', stateDir]);
  const startedMs = performance.now();
  expect(await first.stop()).toBe(0);
  expect(performance.now() - startedMs).toBeGreaterThan(300);

  const broker = await startAedesBroker();
  start(broker.url);
  expect(await broker.published('a/b')).toMatchObject({ payload: 'x', qos: 1 });
});
