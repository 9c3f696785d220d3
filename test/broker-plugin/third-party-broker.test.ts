/** `latchkey-broker` with a third party and no authority of its own: files, restarts, outages. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '@latchkey/shared';
import { expect, onTestFinished, test } from 'vitest';
import { parseBrokerConfig } from '../../broker-plugin/src/broker/config.ts';
import { startBroker } from '../../broker-plugin/src/broker/start.ts';
import { createCapturedLog } from '../helpers/captured-log.ts';
import { newSelfSigned, selfSigned } from '../helpers/certificate.ts';
import { BROKER, type IssuerServer, startIssuer } from '../helpers/issuer-server.ts';
import { connectPacket, overTcp } from '../helpers/mqtt-wire.ts';
import { temporaryDir } from '../helpers/processes.ts';

/** The other authorization server is another authority of the same make: it signs with EdDSA. */
const configOf = ({ issuer }: IssuerServer, lines = '', top = ''): string =>
  `audience = "${BROKER}"\n${top}[[listen]]\ntype = "tcp"\nport = 0\n` +
  `[[third_party_issuer]]\nname = "partner"\nissuer = "${issuer}"\nalgorithms = ["EdDSA"]\n` +
  `accept_topic_scopes = true\n${lines}`;

async function start(text: string) {
  const log = createCapturedLog();
  const config = parseBrokerConfig(text, 'broker.toml');
  const broker = await startBroker(config, { clock: systemClock, logger: log });
  onTestFinished(() => broker.close());
  const enter = async (token: string) => {
    const client = await overTcp(broker.listeners[0]?.port as number);
    const id = 'partner:t-42';
    client.send(connectPacket(token, { clientId: id, username: id }));
    return (await client.next('connack')).returnCode;
  };
  return { broker, log, enter };
}

function written(text: string): string {
  const file = join(temporaryDir(), 'ca.pem');
  writeFileSync(file, text);
  return file;
}

test('lets its clients in and nobody else', async () => {
  const [partner, stranger] = [await startIssuer(systemClock), await startIssuer(systemClock)];
  const { enter, log } = await start(configOf(partner));
  await log.event('keys.updated');
  expect(await enter(await partner.token())).toBe(0);
  expect(await enter(await stranger.token())).toBe(4);
  expect(stranger.fetches).toBe(0);
});

test.each([
  { name: 'the authority of its certificate', pem: () => selfSigned().cert, returnCode: 0 },
  { name: 'another authority', pem: () => newSelfSigned().cert, returnCode: 3 },
  { name: 'no authority', pem: () => undefined, returnCode: 3 },
])('ca_file with $name: return code $returnCode', async ({ pem, returnCode }) => {
  const partner = await startIssuer(systemClock, selfSigned());
  const text = pem();
  const lines = text === undefined ? '' : `ca_file = "${written(text)}"\n`;
  const { enter } = await start(configOf(partner, lines));
  expect(await enter(await partner.token())).toBe(returnCode);
});

test('a ca_file that cannot be read stops the start', async () => {
  const partner = await startIssuer(systemClock);
  await expect(start(configOf(partner, 'ca_file = "/nowhere/ca.pem"\n'))).rejects.toThrow(
    '/nowhere/ca.pem',
  );
});

test('jwks_uri: its metadata are not asked for', async () => {
  const partner = await startIssuer(systemClock);
  const { issuer } = partner;
  partner.answer = (path, response) => {
    if (path === '/jwks') return false;
    response.writeHead(500).end();
    return true;
  };
  const { enter } = await start(configOf(partner, `jwks_uri = "${issuer}/jwks"\n`));
  expect(await enter(await partner.token())).toBe(0);
});

test('with a state file it starts while the other server is down', async () => {
  const partner = await startIssuer(systemClock);
  const text = configOf(partner, '', `state_file = "${join(temporaryDir(), 'state.db')}"\n`);
  const first = await start(text);
  await first.log.event('keys.updated');
  await first.broker.close();
  partner.answer = (_path, response) => {
    response.writeHead(503).end();
    return true;
  };
  const { enter, log } = await start(text);
  await log.event('keys.unavailable');
  expect(await enter(await partner.token())).toBe(0);
});
