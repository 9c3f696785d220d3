/** The trust feed between real processes: what a revocation and a SIGKILL do to a broker and its devices. */
import { randomBytes } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { join } from 'node:path';
import { readOperatorKey } from '@latchkey/authority';
import {
  createHttpClient,
  createKeySigner,
  discover,
  generateKey,
  parseClientId,
  parseIssuer,
  parseResourceId,
  requestToken,
  signAccessToken,
  systemClock,
} from '@latchkey/shared';
import { expect, test } from 'vitest';
import { type LiveStack, startLiveStack } from '../helpers/live-stack.ts';
import { connectPacket, overTcp } from '../helpers/mqtt-wire.ts';

const DEVICES = 1000;
const REVOKED = 100;
const AT_ONCE = 16;

interface Device {
  readonly id: string;
  readonly token: string;
}

/** Does the work for all, a few at a time, and keeps their order. */
async function forAll<In, Out>(
  all: readonly In[],
  work: (one: In) => Promise<Out>,
): Promise<readonly Out[]> {
  const done: Out[] = [];
  let next = 0;
  const worker = async () => {
    while (next < all.length) {
      const index = next;
      next += 1;
      done[index] = await work(all[index] as In);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return done;
}

/** The management API and the token endpoint, as programs use them. */
async function openAuthority({ issuer: text, authorityDir, resource }: LiveStack) {
  const issuer = parseIssuer(text);
  const http = createHttpClient();
  const metadata = await discover(http, issuer);
  const asked = { http, metadata, issuer };
  const operator = readOperatorKey(join(authorityDir, 'operator-key.json'));
  const { accessToken } = await requestToken({
    ...{ ...asked, ...operator, now: systemClock.now(), resource: `${issuer}/api` },
  });
  const api = async (path: string, body: object): Promise<void> => {
    const { status, body: answer } = await http.request({
      ...{ method: 'POST', url: `${issuer}/api/v1${path}`, body: JSON.stringify(body) },
      headers: { authorization: `Bearer ${accessToken}`, 'content-type': 'application/json' },
    });
    if (status >= 300) throw new Error(`${path}: ${status} ${answer}`);
  };
  return {
    api,
    /** With a token that it minted itself when it `mints`, whether it `mayMint` or not. */
    addDevice: async (
      id: string,
      {
        mints = false,
        mayMint = mints,
      }: { readonly mints?: boolean; readonly mayMint?: boolean } = {},
    ): Promise<Device> => {
      const key = generateKey();
      const public_key = key.publicKey.jwk;
      const registration = { client_id: id, public_key, may_mint: mayMint };
      await api('/devices', { ...registration, roles: ['thermostat'] });
      const now = systemClock.now();
      if (mints) {
        const token = await signAccessToken(createKeySigner(key), {
          issuer: parseIssuer(`${issuer}/clients/${id}`),
          clientId: parseClientId(id),
          audience: parseResourceId(resource),
          issuedAt: now,
          expiresAt: now + 900,
          jti: randomBytes(16).toString('base64url'),
          scope: `pub:devices/${id}/telemetry/#`,
        });
        return { id, token };
      }
      const { accessToken: token } = await requestToken({
        ...{ ...asked, clientId: parseClientId(id), signer: createKeySigner(key), resource, now },
      });
      return { id, token };
    },
  };
}

async function connect(port: number, { id, token }: Device) {
  const client = await overTcp(port);
  client.send(connectPacket(token, { clientId: id, username: id }));
  const { returnCode } = await client.next('connack');
  return { client, returnCode };
}

/** The return code, and no connection afterwards. */
async function answerTo(port: number, device: Device): Promise<number | undefined> {
  const { client, returnCode } = await connect(port, device);
  client.stream.destroy();
  return returnCode;
}

test('a revocation ends the sessions of the device in less than a second, and lets it in no more', async () => {
  const stack = await startLiveStack({ hasFeed: true });
  await stack.broker.event('feed.whole');
  const { api, addDevice } = await openAuthority(stack);
  const [device, neighbour] = [await addDevice('t-1'), await addDevice('t-2')];
  const { client, returnCode } = await connect(stack.brokerPort, device);
  const other = await connect(stack.brokerPort, neighbour);
  expect([returnCode, other.returnCode]).toEqual([0, 0]);
  const startedMs = performance.now();
  await api('/clients/t-1/revoke', {});
  await client.closed;
  expect(performance.now() - startedMs).toBeLessThan(1000);
  expect(await answerTo(stack.brokerPort, device)).toBe(4);
  expect(other.client.stream.destroyed).toBe(false);
});

test('a replaced signing key ends the sessions of its tokens, and trust in them', async () => {
  const stack = await startLiveStack({ hasFeed: true });
  await stack.broker.event('feed.whole');
  const { addDevice } = await openAuthority(stack);
  const device = await addDevice('t-1');
  const { client, returnCode } = await connect(stack.brokerPort, device);
  expect(returnCode).toBe(0);
  const isOver = (lines: readonly string[]) =>
    lines.filter((line) => line.includes('"keys.updated"')).length;
  const before = isOver(stack.broker.lines);
  await stack.latchkey('signing-key', 'rotate', '--now', '--yes');
  await expect.poll(() => isOver(stack.broker.lines), { timeout: 5000 }).toBeGreaterThan(before);
  await client.closed;
  expect(await answerTo(stack.brokerPort, device)).toBe(4);
});

test(`I10: killed in the middle of ${DEVICES} connects and of replication, a broker restarts without the authority and decides as before`, async () => {
  const stack = await startLiveStack({ hasFeed: true });
  const { api, addDevice } = await openAuthority(stack);
  const indexes = Array.from({ length: DEVICES }, (_, i) => i);
  // Of each four, two ask for their token, one mints it, and one mints it without being allowed to.
  const devices = await forAll(indexes, (i) =>
    addDevice(`d-${i}`, { mints: i % 4 >= 2, mayMint: i % 4 === 2 }),
  );
  const revoked = devices.slice(0, REVOKED);
  await forAll(revoked, ({ id }) => api(`/clients/${id}/revoke`, {}));
  const last = revoked.at(-1) as Device;
  const suspended = devices[REVOKED] as Device;
  await api(`/clients/${suspended.id}/suspend`, {});
  const expected = indexes.map((i) => (i <= REVOKED || i % 4 === 3 ? 4 : 0));
  await expect.poll(() => answerTo(stack.brokerPort, last), { timeout: 10_000 }).toBe(4);
  await expect.poll(() => answerTo(stack.brokerPort, suspended), { timeout: 10_000 }).toBe(4);
  const codesOfAll = () => forAll(devices, (device) => answerTo(stack.brokerPort, device));
  expect(await codesOfAll()).toEqual(expected);

  let accepted = 0;
  const isMidway = new EventEmitter();
  const storm = forAll(devices, async (device) => {
    await answerTo(stack.brokerPort, device).catch(() => undefined);
    accepted += 1;
    if (accepted === DEVICES / 2) isMidway.emit('midway');
  });
  let isKilled = false;
  const changes = (async () => {
    for (let i = 0; !isKilled; i += 1) await addDevice(`late-${i}`);
  })();
  await once(isMidway, 'midway');
  await stack.broker.stop('SIGKILL');
  isKilled = true;
  await Promise.all([storm, changes]);
  await stack.authority.stop('SIGKILL');

  await stack.startBroker();
  expect(await codesOfAll()).toEqual(expected);
});
