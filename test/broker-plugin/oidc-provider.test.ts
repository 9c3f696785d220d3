/** A real third party, oidc-provider, whose tokens a broker accepts over real sockets. */
import type { LatchkeyOptions } from '@latchkey/broker-plugin';
import { systemClock } from '@latchkey/shared';
import { expect, test } from 'vitest';
import { createDrivenClock } from '../helpers/driven-clock.ts';
import { type GuardedBroker, startGuardedBroker } from '../helpers/guarded-broker.ts';
import { publishPacket, subscribePacket } from '../helpers/mqtt-wire.ts';
import {
  OIDC_TOKEN_SECONDS,
  type OidcProvider,
  startOidcProvider,
} from '../helpers/oidc-provider.ts';

const CLIENTS = { 'rs-1': 'RS256', 'ed-1': 'EdDSA', 'ed-2': 'EdDSA' } as const;

interface Setup extends GuardedBroker {
  readonly provider: OidcProvider;
  readonly driven: ReturnType<typeof createDrivenClock>;
  enter(clientId: string, token?: string): ReturnType<GuardedBroker['connect']>;
}

async function setup(options: Partial<LatchkeyOptions> = {}): Promise<Setup> {
  const provider = await startOidcProvider(CLIENTS);
  // The provider lives in real time; the broker's clock starts there and is then driven.
  const driven = createDrivenClock(systemClock.now());
  const broker = await startGuardedBroker({
    options: {
      clock: driven,
      thirdPartyIssuers: [
        {
          name: 'oidc',
          issuer: provider.issuer,
          algorithms: ['RS256', 'EdDSA'],
          scopeAliases: {
            'telemetry:write': ['pub:devices/{client_id}/telemetry/#'],
            'commands:read': ['sub:devices/{client_id}/commands/+'],
          },
        },
      ],
      ...options,
    },
  });
  const enter: Setup['enter'] = async (clientId, token) => {
    const id = `oidc:${clientId}`;
    const text = token ?? (await provider.token({ clientId }));
    return broker.connect(text, { clientId: id, username: id });
  };
  return Object.assign(broker, { provider, driven, enter });
}

test.each([
  { alg: 'RS256', clientId: 'rs-1' },
  { alg: 'EdDSA', clientId: 'ed-1' },
])('$alg: connects, publishes and subscribes as its scopes say, and no further', async (row) => {
  const { enter, provider, log } = await setup();
  const token = await provider.token({ clientId: row.clientId });
  const header = JSON.parse(Buffer.from(token.split('.')[0] as string, 'base64url').toString());
  expect(header).toMatchObject({ alg: row.alg, typ: 'at+jwt' });
  const client = await enter(row.clientId, token);
  expect(client.connack).toMatchObject({ returnCode: 0 });

  const own = `devices/oidc:${row.clientId}`;
  client.send(
    subscribePacket({ [`${own}/commands/+`]: 1, [`${own}/#`]: 1, 'devices/t-42/commands/+': 0 }),
  );
  expect(await client.next('suback')).toMatchObject({ granted: [1, 128, 128] });
  client.send(publishPacket(`${own}/telemetry/temperature`, 1));
  await client.next('puback');
  client.send(publishPacket(`${own}/commands/power`, 1, { messageId: 2 }));
  await client.closed;
  expect(client.packets.filter(({ cmd }) => cmd === 'puback')).toHaveLength(1);
  expect(await log.event('publish.refused')).toMatchObject({ clientId: `oidc:${row.clientId}` });
});

test('a message reaches a client of theirs that may have it', async () => {
  const { enter, aedes } = await setup();
  const client = await enter('ed-1');
  const topic = 'devices/oidc:ed-1/commands/power';
  client.send(subscribePacket({ 'devices/oidc:ed-1/commands/+': 0 }));
  await client.next('suback');
  await new Promise<void>((resolve) => {
    const packet = { cmd: 'publish', topic, payload: 'on', qos: 0, retain: false, dup: false };
    aedes.publish(packet as never, () => resolve());
  });
  expect(await client.next('publish')).toMatchObject({ topic });
});

test('a scope that it does not ask for gives nothing', async () => {
  const { enter, provider } = await setup();
  const client = await enter('ed-1', await provider.token({ clientId: 'ed-1', scope: 'other' }));
  expect(client.connack).toMatchObject({ returnCode: 0 });
  client.send(subscribePacket({ 'devices/oidc:ed-1/commands/+': 0 }));
  expect(await client.next('suback')).toMatchObject({ granted: [128] });
});

test('refused: a token for another resource, another client, or a changed one', async () => {
  const { enter, provider } = await setup();
  const returnCode = async (clientId: string, token: string) =>
    (await enter(clientId, token)).connack.returnCode;
  const resource = 'mqtts://other.example';
  expect(await returnCode('ed-1', await provider.token({ clientId: 'ed-1', resource }))).toBe(5);
  const token = await provider.token({ clientId: 'ed-1' });
  expect(await returnCode('ed-2', token)).toBe(5);
  const [header, claims, signature = ''] = token.split('.');
  const other = signature.startsWith('A') ? 'B' : 'A';
  expect(await returnCode('ed-1', `${header}.${claims}.${other}${signature.slice(1)}`)).toBe(4);
});

test('I5: the session ends when its token does', async () => {
  const { enter, driven, log } = await setup();
  const client = await enter('rs-1');
  expect(client.connack).toMatchObject({ returnCode: 0 });
  await driven.advance((OIDC_TOKEN_SECONDS + 1) * 1000);
  await client.closed;
  expect(await log.event('session.expired')).toMatchObject({ clientId: 'oidc:rs-1' });
});

test('new keys are found by their first token, and those of before are trusted no more', async () => {
  const { enter, provider, driven, log } = await setup();
  await log.event('keys.updated');
  const before = await provider.token({ clientId: 'rs-1' });
  expect((await enter('rs-1', before)).connack).toMatchObject({ returnCode: 0 });
  provider.rotate();
  const after = await provider.token({ clientId: 'rs-1' });
  await driven.advance(30_000); // the least time between two looks for an unknown key
  expect((await enter('rs-1', after)).connack).toMatchObject({ returnCode: 0 });
  expect((await enter('rs-1', before)).connack).toMatchObject({ returnCode: 4 });
});

test('a provider that is down after the start is not needed; without its keys the answer is 3', async () => {
  const { enter, provider, log } = await setup();
  await log.event('keys.updated');
  const token = await provider.token({ clientId: 'ed-1' });
  await provider.stop();
  expect((await enter('ed-1', token)).connack).toMatchObject({ returnCode: 0 });

  const late = await setup({ http: { request: () => Promise.reject(new Error('down')) } });
  const other = await late.provider.token({ clientId: 'ed-1' });
  expect((await late.enter('ed-1', other)).connack).toMatchObject({ returnCode: 3 });
});
