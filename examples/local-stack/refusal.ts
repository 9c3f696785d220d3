/**
 * A publication that is not allowed, on purpose: refused by the agent, and by the broker when a program
 * with the device's own token goes past the agent.
 *
 * Units   none.
 * Errors  `Error` when either let it pass.
 * Source  MQTT 3.1.1 3.3.5: a broker can refuse a publication only by closing the connection.
 *
 * @module
 */
import { EXIT } from '@latchkey/shared';
import mqtt from 'mqtt';
import { mustRun, run } from './programs.js';
import { AIR_CONDITIONER, type Settings, TOPICS } from './settings.js';

const TOPIC = TOPICS.temperature;

/** Returns what the agent said. */
export async function refusedByAgent(settings: Settings): Promise<string> {
  const stateDir = settings.stateDir(AIR_CONDITIONER);
  const args = ['publish', TOPIC, '--state-dir', stateDir, '--message', '99'];
  const { exitCode, stderr } = await run('latchkey-agent', args);
  if (exitCode === EXIT.ok) throw new Error('the agent accepted what its token does not allow');
  return `latchkey-agent publish: exit ${exitCode}, ${stderr.trim()}`;
}

/** Takes the place of the agent's connection for a moment, as whoever stole its token would. */
export async function refusedByBroker(settings: Settings): Promise<void> {
  const { resource } = settings;
  const args = ['token', '--state-dir', settings.stateDir(AIR_CONDITIONER), '--resource', resource];
  const password = (await mustRun('latchkey-agent', args)).trim();
  const client = await mqtt.connectAsync(resource, {
    ...{ clientId: AIR_CONDITIONER, username: AIR_CONDITIONER, password },
    ...{ protocolVersion: 4, clean: false, reconnectPeriod: 0 },
  });
  const closed = new Promise<'closed'>((resolve) => client.once('close', () => resolve('closed')));
  client.on('error', () => undefined);
  const published = client.publishAsync(TOPIC, '99', { qos: 1 }).then(
    () => 'published' as const,
    () => closed,
  );
  if ((await Promise.race([closed, published])) !== 'closed') {
    throw new Error('the broker accepted what the token does not allow');
  }
}
