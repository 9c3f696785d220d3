/** `latchkey-broker` as a process: signals, and what it keeps through them. I10. */
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '@latchkey/shared';
import { expect, test } from 'vitest';
import { newSelfSigned } from '../helpers/certificate.ts';
import { BROKER, type IssuerServer, startIssuer } from '../helpers/issuer-server.ts';
import {
  connectPacket,
  overTcp,
  publishPacket,
  subscribePacket,
  type WireClient,
} from '../helpers/mqtt-wire.ts';
import {
  freePort,
  type Running,
  runProgram,
  startProgram,
  temporaryDir,
} from '../helpers/processes.ts';
import { holdKeys, untilHolding } from '../helpers/waiting-connects.ts';

const configText = (issuer: IssuerServer, more: string, port = 0) =>
  `issuer = "${issuer.issuer}"\naudience = "${BROKER}"\n${more}\n[[listen]]\ntype = "tcp"\nport = ${port}\n`;

const pubacks = (client: WireClient): number =>
  client.packets.filter(({ cmd }) => cmd === 'puback').length;

async function asProcess(more: string) {
  const issuer = await startIssuer(systemClock);
  const port = await freePort();
  const file = join(temporaryDir(), 'broker.toml');
  writeFileSync(file, configText(issuer, more, port));
  const start = async (): Promise<Running> => {
    const broker = startProgram('latchkey-broker', ['--config', file]);
    await broker.event('broker.listening');
    await broker.event('keys.updated');
    return broker;
  };
  const connect = async (id: string, clean: boolean) => {
    const client = await overTcp(port);
    const token = await issuer.token({ clientId: id, scope: 'pub:# sub:#' });
    client.send(connectPacket(token, { clientId: id, username: id, clean }));
    expect(await client.next('connack')).toMatchObject({ returnCode: 0 });
    return client;
  };
  return { issuer, start, connect, file };
}

test('I10: messages acknowledged before SIGTERM wait for their client after a restart', async () => {
  const directory = join(temporaryDir(), 'sessions');
  const { start, connect } = await asProcess(
    `[persistence]\ntype = "level"\ndirectory = "${directory}"\n`,
  );
  const first = await start();
  const sleeper = await connect('sleeper', false);
  sleeper.send(subscribePacket({ 'm/#': 1 }));
  await sleeper.next('suback');
  sleeper.stream.destroy();
  await first.event('session.closed');
  const talker = await connect('talker', true);
  const packets = Array.from({ length: 300 }, (_, i) =>
    publishPacket(`m/${i}`, 1, { messageId: i + 1 }),
  );
  talker.send(...packets);
  await talker.next('puback');
  expect(await first.stop('SIGTERM')).toBe(0);
  await talker.closed;
  const acknowledged = pubacks(talker);
  expect(acknowledged).toBeGreaterThan(0);

  const second = await start();
  const again = await connect('sleeper', false);
  for (let i = 0; i < acknowledged; i += 1) {
    const { topic, messageId = 0 } = await again.next('publish');
    expect(topic).toBe(`m/${i}`);
    again.send({ cmd: 'puback', messageId });
  }
  expect(await second.stop('SIGTERM')).toBe(0);
});

test('I10: sessions in a directory survive SIGKILL of the broker', async () => {
  const directory = join(temporaryDir(), 'sessions');
  const { start, connect } = await asProcess(
    `[persistence]\ntype = "level"\ndirectory = "${directory}"\n`,
  );
  const first = await start();
  const sleeper = await connect('sleeper', false);
  sleeper.send(subscribePacket({ 'm/#': 2 }));
  await sleeper.next('suback');
  sleeper.stream.destroy();
  await first.event('session.closed');
  const talker = await connect('talker', false);
  for (let messageId = 1; messageId <= 20; messageId += 1) {
    talker.send(publishPacket(`m/${messageId}`, 2, { messageId }));
    await talker.next('pubrec');
  }
  await first.stop('SIGKILL');

  const second = await start();
  // What was received is known: a repetition is not published again.
  const repeats = await connect('talker', false);
  repeats.send(publishPacket('m/20', 2, { messageId: 20, dup: true }));
  await repeats.next('pubrec');
  const again = await connect('sleeper', false);
  const topics: string[] = [];
  for (let i = 0; i < 20; i += 1) topics.push((await again.next('publish')).topic);
  expect(topics).toEqual(Array.from({ length: 20 }, (_, i) => `m/${i + 1}`));
  again.send({ cmd: 'pingreq' });
  await again.next('pingresp');
  expect(again.packets.filter(({ cmd }) => cmd === 'publish')).toHaveLength(20);
  expect(await second.stop('SIGTERM')).toBe(0);
});

test.each(['SIGTERM', 'SIGINT'] as const)('a second %s ends the broker at once', async (name) => {
  const { issuer, file } = await asProcess('drain_seconds = 300');
  holdKeys(issuer);
  const broker = startProgram('latchkey-broker', ['--config', file]);
  const { port } = await broker.event('broker.listening');
  const client = await overTcp(port as number);
  client.send(connectPacket(await issuer.token()));
  await untilHolding(client);
  const exited = once(broker.child, 'exit');
  broker.child.kill('SIGTERM');
  await broker.event('broker.draining');
  broker.child.kill(name);
  expect(await exited).toEqual([null, name]);
});

test('SIGHUP reads the certificates anew, and SIGTERM then ends with 0', async () => {
  const dir = temporaryDir();
  const [certificate, key] = [join(dir, 'c.pem'), join(dir, 'k.pem')];
  const write = (pair: { readonly cert: string; readonly key: string }) => {
    writeFileSync(certificate, pair.cert);
    writeFileSync(key, pair.key, { mode: 0o600 });
  };
  write(newSelfSigned());
  const { start } = await asProcess(
    `[[listen]]\ntype = "tls"\nport = 0\ncertificate_file = "${certificate}"\nkey_file = "${key}"\n`,
  );
  const broker = await start();
  write(newSelfSigned());
  broker.child.kill('SIGHUP');
  await broker.event('listener.reloaded');
  writeFileSync(key, 'guess');
  broker.child.kill('SIGHUP');
  await broker.event('listener.failed');
  expect(await broker.stop('SIGTERM')).toBe(0);
});

test.each([
  { name: 'a state file that cannot be made', more: 'state_file = "/nowhere/state.db"', code: 2 },
  {
    name: 'a directory that cannot be made',
    more: '[persistence]\ntype = "level"\ndirectory = "/dev/null/x"',
    code: 2,
  },
  { name: 'Redis that is not there', more: '[persistence]\ntype = "redis"\nport = 9', code: 3 },
  {
    name: 'a listener without its certificate',
    more: '[[listen]]\ntype = "tls"\nport = 0\ncertificate_file = "/nowhere/c"\nkey_file = "/nowhere/k"',
    code: 1,
  },
])('with $name the process ends by itself, with exit code $code', async ({ more, code }) => {
  const { file } = await asProcess(more);
  const { exitCode, stderr } = await runProgram('latchkey-broker', ['--config', file]);
  expect(exitCode).toBe(code);
  expect(stderr).toMatch(/^latchkey-broker: .*/);
});
