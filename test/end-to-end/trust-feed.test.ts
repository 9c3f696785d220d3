/** The trust feed between real processes: what a revocation and a SIGKILL do to a broker and its devices. */
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
  requestToken,
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
    addDevice: async (id: string): Promise<Device> => {
      const key = generateKey();
      const public_key = key.publicKey.jwk;
      await api('/devices', { client_id: id, public_key, roles: ['thermostat'] });
      const { accessToken: token } = await requestToken({
        ...{ ...asked, clientId: parseClientId(id), signer: createKeySigner(key), resource },
        now: systemClock.now(),
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
  const ids = Array.from({ length: DEVICES }, (_, i) => `d-${i}`);
  const devices = await forAll(ids, addDevice);
  const revoked = devices.slice(0, REVOKED);
  await forAll(revoked, ({ id }) => api(`/clients/${id}/revoke`, {}));
  const last = revoked.at(-1) as Device;
  await expect.poll(() => answerTo(stack.brokerPort, last), { timeout: 10_000 }).toBe(4);

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
  const codes = await forAll(devices, (device) => answerTo(stack.brokerPort, device));
  expect(codes.slice(0, REVOKED)).toEqual(Array(REVOKED).fill(4));
  expect(codes.slice(REVOKED)).toEqual(Array(DEVICES - REVOKED).fill(0));
});
