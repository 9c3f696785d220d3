/** What people write today: MQTT.js, a password, and what comes in on the screen. Ten lines with this one. */
import mqtt from 'mqtt';

const [, , url = 'mqtt://localhost', topic = 'devices/script/commands/+'] = process.argv;
const client = mqtt.connect(url, { clientId: 'script', username: 'script', password: 'secret' });

client.on('connect', () => client.subscribe(topic, { qos: 1 }));
client.on('message', (name, payload) => process.stdout.write(`${name} ${payload.toString()}\n`));
client.on('error', (error) => process.stderr.write(`${error.message}\n`));
process.on('SIGTERM', () => client.end(false, {}, () => process.exit(0)));
