/**
 * From an operator's word at a real authority, over the trust feed, to a live connection: I4, I5, I7;
 * STANDARDS 6, groups 25, 27 and 28.
 */
import { join } from 'node:path';
import {
  createKeySigner,
  generateKey,
  type Issuer,
  newJti,
  parseClientId,
  parseResourceId,
  type RoleName,
  signAccessToken,
} from '@latchkey/shared';
import { Aedes } from 'aedes';
import { expect, test } from 'vitest';
import { type FollowedAuthority, startFollowedAuthority } from '../helpers/followed-authority.ts';
import { type GuardedBroker, startGuardedBroker } from '../helpers/guarded-broker.ts';
import { publishPacket, subscribePacket } from '../helpers/mqtt-wire.ts';
import { temporaryDir } from '../helpers/processes.ts';
import { addDevice, BROKER, type TestDevice } from '../helpers/test-authority.ts';

const ID = parseClientId('t-42');
const COMMAND = 'devices/t-42/commands/power';
/** DESIGN 9, I5. */
const REVOCATION_MS = 1000;

interface Fleet extends FollowedAuthority {
  readonly device: TestDevice;
  startBroker(persistence?: unknown): Promise<GuardedBroker>;
  issue(): Promise<string>;
  mint(scope?: string): Promise<string>;
}

async function startFleet(): Promise<Fleet> {
  const followed = await startFollowedAuthority();
  const { authority, service } = followed;
  const device = await addDevice(authority);
  await authority.registry.patchClient(ID, { mayMint: true });
  const stateFile = join(temporaryDir(), 'state.db');
  const { clock, issuer } = authority;
  return {
    ...followed,
    device,
    startBroker: async (persistence) => {
      const feed = { clientId: service.clientId, signer: createKeySigner(service.key) };
      const broker = await startGuardedBroker({
        options: { issuer, clock, feed, stateFile },
        ...(persistence === undefined ? {} : { aedes: { persistence } as never }),
      });
      if (!broker.latchkey.isReady()) await broker.log.event('feed.whole');
      return broker;
    },
    issue: async () => {
      const { body } = await authority.token(await device.assertion(), { resource: BROKER });
      return (body as { access_token: string }).access_token;
    },
    mint: (scope = `sub:${COMMAND} pub:devices/t-42/telemetry/#`) =>
      signAccessToken(createKeySigner(device.key), {
        ...{ issuer: `${issuer}/clients/t-42` as Issuer, clientId: ID, scope, jti: newJti() },
        audience: parseResourceId(BROKER),
        issuedAt: clock.now(),
        expiresAt: clock.now() + 600,
      }),
  };
}

test.each<{ name: string; act: (fleet: Fleet) => Promise<unknown>; of: 'both' | 'minted' }>([
  {
    name: 'revoked',
    act: ({ authority }) => authority.api('POST', '/clients/t-42/revoke', {}),
    of: 'both',
  },
  {
    name: 'suspended',
    act: ({ authority }) => authority.api('POST', '/clients/t-42/suspend', {}),
    of: 'both',
  },
  {
    name: 'deleted',
    act: ({ authority }) => authority.registry.deleteClient(ID),
    of: 'both',
  },
  {
    name: 'without its tokens until now',
    act: ({ authority }) => authority.api('POST', '/clients/t-42/void-tokens', {}),
    of: 'both',
  },
  {
    name: 'without the right to its subscription',
    act: ({ authority }) => authority.registry.patchClient(ID, { roles: [] as RoleName[] }),
    of: 'both',
  },
  {
    name: 'not allowed to mint',
    act: ({ authority }) => authority.registry.patchClient(ID, { mayMint: false }),
    of: 'minted',
  },
  {
    name: 'without the key that minted',
    act: async ({ authority, device }) => {
      await authority.registry.addClientKey(ID, { key: generateKey().publicKey });
      await authority.registry.removeClientKey(ID, device.key.publicKey.kid);
    },
    of: 'minted',
  },
])('I5: a client that is $name is disconnected within a second ($of)', async ({ act, of }) => {
  const fleet = await startFleet();
  const broker = await fleet.startBroker();
  const minted = await broker.connect(await fleet.mint());
  minted.send(subscribePacket({ [COMMAND]: 1 }));
  expect(await minted.next('suback')).toMatchObject({ granted: [1] });
  const begin = performance.now();
  await act(fleet);
  await minted.closed;
  expect(performance.now() - begin).toBeLessThan(REVOCATION_MS);

  const other = await startFleet();
  const second = await other.startBroker();
  const token = await other.issue();
  const issued = await second.connect(token);
  issued.send(subscribePacket({ [COMMAND]: 1 }));
  await issued.next('suback');
  const changes = second.log.event('session.revoked');
  await act(other);
  if (of === 'both') {
    await Promise.all([issued.closed, changes]);
  } else {
    issued.send({ cmd: 'pingreq' });
    await issued.next('pingresp');
  }
});

test('a device that was registered a moment ago connects at once', async () => {
  const fleet = await startFleet();
  const broker = await fleet.startBroker();
  const { authority } = fleet;
  for (let i = 0; i < 5; i += 1) {
    const id = `new-${i}`;
    const device = await addDevice(authority, id);
    const { body } = await authority.token(await device.assertion(), { resource: BROKER });
    const token = (body as { access_token: string }).access_token;
    const connecting = broker.connect(token, { clientId: id, username: id });
    await authority.clock.advance(25); // the authority rests so long between two changes
    const client = await connecting;
    expect(client.connack.returnCode).toBe(0);
  }
});

test('I8: a minted token has what it says and the registry gives, and no more', async () => {
  const fleet = await startFleet();
  const broker = await fleet.startBroker();
  const heard = await broker.heard();
  const client = await broker.connect(await fleet.mint('pubsub:#'));
  client.send(subscribePacket({ [COMMAND]: 1, 'devices/+/commands/power': 1, '#': 0 }));
  expect(await client.next('suback')).toMatchObject({ granted: [1, 128, 128] });
  client.send(publishPacket('devices/t-42/telemetry/t', 1, { messageId: 1 }));
  await client.next('puback');
  client.send(publishPacket('devices/t-43/telemetry/t', 1, { messageId: 2 }));
  await client.closed;
  expect(heard.filter((topic) => !topic.startsWith('$'))).toEqual(['devices/t-42/telemetry/t']);
});

interface Stored {
  subscriptionsByClient(client: object): Promise<object[]>;
}

/** A persistence that outlives its brokers, as one on disk does. */
async function inMemory(): Promise<Stored> {
  const aedes = await Aedes.createBroker();
  await new Promise<void>((resolve) => aedes.close(resolve));
  return (aedes as unknown as { persistence: Stored }).persistence;
}

/** A device that went away with a subscription stored, and the broker with it. */
async function leave(fleet: Fleet, persistence: Stored): Promise<void> {
  const broker = await fleet.startBroker(persistence);
  const client = await broker.connect(await fleet.issue(), { clean: false });
  client.send(subscribePacket({ [COMMAND]: 1 }));
  await client.next('suback');
  await broker.latchkey.close();
  await client.closed;
  expect(await persistence.subscriptionsByClient({ id: 't-42' })).toHaveLength(1);
}

test('trap 3: what a client left is emptied when it was revoked while the broker was down', async () => {
  const fleet = await startFleet();
  const persistence = await inMemory();
  await leave(fleet, persistence);
  await fleet.authority.api('POST', '/clients/t-42/revoke', {});
  await fleet.startBroker(persistence);
  await expect
    .poll(() => persistence.subscriptionsByClient({ id: 't-42' }), { timeout: 15_000 })
    .toEqual([]);
});

test('I7: a client registered anew while the broker was down inherits nothing', async () => {
  const fleet = await startFleet();
  const persistence = await inMemory();
  await leave(fleet, persistence);
  const { authority } = fleet;
  await authority.registry.deleteClient(ID);
  await authority.registry.freeClientId(ID);
  authority.clock.set(authority.clock.now() + 1);
  const successor = await addDevice(authority);
  const broker = await fleet.startBroker(persistence);
  const { body } = await authority.token(await successor.assertion(), { resource: BROKER });
  const token = (body as { access_token: string }).access_token;
  await expect
    .poll(
      async () => {
        const { connack, stream } = await broker.connect(token, { clean: false });
        stream.destroy();
        return [connack.returnCode, connack.sessionPresent];
      },
      { timeout: 15_000 },
    )
    .toEqual([0, false]);
});
