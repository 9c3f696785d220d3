/**
 * A program on a device that uses the agent there: sends a reading, and obeys commands. It knows no
 * token, and it waits when the agent restarts.
 *
 *     node examples/dist/device-program.js /var/lib/latchkey-agent/agent.sock
 *
 * @module
 */
import { connectAgent } from '@latchkey/agent';

const [socketPath = '/var/lib/latchkey-agent/agent.sock'] = process.argv.slice(2);
const agent = connectAgent({ socketPath });
const { clientId } = await agent.status();

const commands = agent.subscribe(`devices/${clientId}/commands/+`);
await commands.ready;

// Safe on this device's disk when the promise resolves; it arrives when the network allows.
await agent.publish(`devices/${clientId}/telemetry/door`, JSON.stringify({ isOpen: false }));
process.stdout.write('waiting for commands\n');

for await (const { topic, payload } of commands) {
  process.stdout.write(`${topic}: ${payload.toString()}\n`);
  if (payload.toString() === 'stop') break;
}
agent.close();
