/** TLS to an issuer whose certificate is from an authority of one's own. */
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { systemClock } from '@latchkey/shared';
import { Aedes } from 'aedes';
import { expect, onTestFinished, test } from 'vitest';
import { parseBrokerConfig } from '../../broker-plugin/src/broker/config.ts';
import { startBroker } from '../../broker-plugin/src/broker/start.ts';
import { runProgram } from '../../broker-plugin/src/cli/program.ts';
import { createLatchkey } from '../../broker-plugin/src/latchkey.ts';
import { createCapturedLog } from '../helpers/captured-log.ts';
import { newSelfSigned, selfSigned } from '../helpers/certificate.ts';
import { BROKER, startIssuer } from '../helpers/issuer-server.ts';
import { connectPacket, overTcp } from '../helpers/mqtt-wire.ts';
import { temporaryDir } from '../helpers/processes.ts';

async function started(pem: string | undefined) {
  const issuer = await startIssuer(systemClock, selfSigned());
  const file = join(temporaryDir(), 'ca.pem');
  if (pem !== undefined) writeFileSync(file, pem);
  const ca = pem === undefined ? '' : `issuer_ca_file = "${file}"\n`;
  const text = `issuer = "${issuer.issuer}"\naudience = "${BROKER}"\n${ca}[[listen]]\ntype = "tcp"\nport = 0\n`;
  const log = createCapturedLog();
  const broker = await startBroker(parseBrokerConfig(text, 'broker.toml'), {
    clock: systemClock,
    logger: log,
  });
  onTestFinished(() => broker.close());
  return { issuer, log, port: broker.listeners[0]?.port as number };
}

test('issuer_ca_file: the keys are fetched from an issuer with a certificate of that authority', async () => {
  const { issuer, log, port } = await started(newSelfSigned().cert + selfSigned().cert);
  await log.event('keys.updated');
  const client = await overTcp(port);
  client.send(connectPacket(await issuer.token()));
  expect(await client.next('connack')).toMatchObject({ returnCode: 0 });
});

test.each([
  { name: 'no authority of one’s own', pem: () => undefined },
  { name: 'another authority', pem: () => newSelfSigned().cert },
])('with $name the issuer is not believed, and nobody is let in', async ({ pem }) => {
  const { issuer, log, port } = await started(pem());
  expect(await log.event('keys.unavailable')).toMatchObject({
    detail: expect.stringMatching(/self-signed|certificate/),
  });
  const client = await overTcp(port);
  client.send(connectPacket(await issuer.token()));
  expect(await client.next('connack')).toMatchObject({ returnCode: 3 });
});

test('issuerCa is an option of the plugin too', async () => {
  const issuer = await startIssuer(systemClock, selfSigned());
  const latchkey = createLatchkey({
    issuer: issuer.issuer,
    audience: BROKER,
    issuerCa: selfSigned().cert,
  });
  const aedes = await Aedes.createBroker();
  onTestFinished(() => void aedes.close());
  onTestFinished(() => latchkey.close());
  latchkey.install(aedes);
  const outcome = await latchkey.explain({
    token: await issuer.token(),
    action: 'publish',
    topic: 'devices/t-42/x',
  });
  expect(outcome).toMatchObject({ allowed: true });
});

test.each([
  { name: 'no PEM', text: 'guess', message: 'holds no certificate in PEM' },
  {
    name: 'a key',
    text: selfSigned().key,
    message: 'holds no certificate in PEM',
  },
  {
    name: 'a damaged certificate',
    text: selfSigned().cert.replace('\n', '\nAAAA'),
    message: 'is damaged',
  },
])(
  'I1: a file with $name is refused with exit code 2, and not quoted',
  async ({ text, message }) => {
    const dir = temporaryDir();
    const [file, config] = [join(dir, 'ca.pem'), join(dir, 'broker.toml')];
    writeFileSync(file, text);
    writeFileSync(
      config,
      `issuer = "https://id.example"\nissuer_ca_file = "${file}"\naudience = "${BROKER}"\n[[listen]]\ntype = "tcp"\nport = 0\n`,
    );
    const [stdout, stderr] = [new PassThrough(), new PassThrough()];
    const io = { stdout, stderr, clock: systemClock, signal: AbortSignal.abort() };
    expect(await runProgram(['run', '--config', config], io)).toBe(2);
    const said = String(stderr.read());
    expect(said).toContain(file);
    expect(said).toContain(message);
    expect(said).not.toContain(text.slice(30, 60) || text);
    stdout.end();
    await once(stdout.resume(), 'end');
  },
);
