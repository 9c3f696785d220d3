/** One assertion is spent once (I6), whatever arrives at the same moment and whatever restarts. */
import { connect } from 'node:net';
import { JWT_BEARER_GRANT } from '@latchkey/shared';
import { describe, expect, test } from 'vitest';
import {
  addDevice,
  addThermostatRole,
  openTestAuthority,
  type TestAuthority,
} from '../../helpers/test-authority.ts';

/** Opens that many connections first, then sends the same request on all of them. */
async function sendAtOnce(url: string, count: number, body: string): Promise<readonly string[]> {
  const { hostname, port } = new URL(url);
  const sockets = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<ReturnType<typeof connect>>((resolve, reject) => {
          const socket = connect({ host: hostname, port: Number(port) }, () => resolve(socket));
          socket.once('error', reject);
        }),
    ),
  );
  const answers = sockets.map(
    (socket) =>
      new Promise<string>((resolve, reject) => {
        let text = '';
        socket.on('data', (chunk) => {
          text += String(chunk);
        });
        socket.once('end', () => resolve(text));
        socket.once('error', reject);
      }),
  );
  const request = [
    'POST /token HTTP/1.1',
    'Host: localhost',
    'Connection: close',
    'Content-Type: application/x-www-form-urlencoded',
    `Content-Length: ${body.length}`,
    '',
    body,
  ].join('\r\n');
  for (const socket of sockets) socket.write(request);
  return Promise.all(answers);
}

async function setup(): Promise<TestAuthority> {
  const authority = await openTestAuthority();
  await addThermostatRole(authority);
  return authority;
}

describe('one assertion', () => {
  test.each([{ count: 20 }, { count: 200 }])(
    'sent from $count connections at the same moment yields exactly one token',
    async ({ count }) => {
      const authority = await setup();
      const device = await addDevice(authority);
      const url = await authority.authority.listen({ host: '127.0.0.1', port: 0 });
      const form = new URLSearchParams({
        grant_type: JWT_BEARER_GRANT,
        assertion: await device.assertion(),
      });
      const answers = await sendAtOnce(url, count, form.toString());
      const granted = answers.filter((text) => text.startsWith('HTTP/1.1 200'));
      const refused = answers.filter((text) => text.startsWith('HTTP/1.1 400'));
      expect(granted).toHaveLength(1);
      expect(granted[0]).toContain('"access_token"');
      expect(refused).toHaveLength(count - 1);
      expect(refused.every((text) => text.includes('the assertion is not valid'))).toBe(true);
      expect(authority.log.all('token.issued').filter((l) => l.clientId === 't-42')).toHaveLength(
        1,
      );
    },
  );

  test('is spent for good: a restarted authority refuses it too', async () => {
    const first = await setup();
    const device = await addDevice(first);
    const assertion = await device.assertion();
    expect((await first.token(assertion)).status).toBe(200);
    await first.authority.close();
    const { dataDir, clock } = first;
    const second = await openTestAuthority({ dataDir, clock });
    expect((await second.token(assertion)).body).toMatchObject({ error: 'invalid_grant' });
    expect((await second.token(await device.assertion())).status).toBe(200);
  });

  test('is spent even when what it asks for is refused', async () => {
    const authority = await setup();
    const device = await addDevice(authority);
    const assertion = await device.assertion();
    expect((await authority.token(assertion, { scope: 'nope' })).body).toMatchObject({
      error: 'invalid_scope',
    });
    expect((await authority.token(assertion)).body).toMatchObject({ error: 'invalid_grant' });
  });

  test('is not spent by somebody without the key, who sends its jti with another signature', async () => {
    const authority = await setup();
    const device = await addDevice(authority);
    const other = await addDevice(authority, 't-43');
    const jti = '0123456789abcdef';
    const good = await device.assertion({ jti });
    const forged = `${good.split('.').slice(0, 2).join('.')}.${'A'.repeat(86)}`;
    expect((await authority.token(forged)).status).toBe(400);
    // The same jti of another client is another assertion.
    expect((await authority.token(await other.assertion({ jti }))).status).toBe(200);
    expect((await authority.token(good)).status).toBe(200);
  });

  test('is remembered until it is expired for everybody, and then forgotten', async () => {
    const authority = await setup();
    const { registry, clock } = authority;
    const device = await addDevice(authority);
    const { clientId } = device;
    const now = clock.now();
    const spend = (jti: string, rememberUntil: number) =>
      registry.spendAssertion({ clientId, jti, rememberUntil });
    expect(await spend('first', now + 600)).toBe(true);
    await clock.advance(599_000);
    expect(await spend('second', now + 900)).toBe(true);
    expect(await spend('first', now + 600)).toBe(false);
    await clock.advance(1000);
    // One of so many sweeps what is expired.
    for (let i = 0; i < 16; i += 1) await spend(`other-${i}`, now + 900);
    expect(await spend('first', now + 600)).toBe(true);
    expect(await spend('second', now + 900)).toBe(false);
  });

  test.each([
    { name: 'an hour', bySeconds: 3600 },
    { name: 'ten years', bySeconds: 315_360_000 },
  ])('is remembered when the clock jumps $name ahead and back', async ({ bySeconds }) => {
    const authority = await setup();
    const { registry, clock } = authority;
    const { clientId } = await addDevice(authority);
    const spendMany = async (name: string) => {
      for (let i = 0; i < 32; i += 1) {
        const rememberUntil = clock.now() + 420;
        await registry.spendAssertion({ clientId, jti: `${name}-${i}`, rememberUntil });
      }
    };
    // Long after the start, when expired ones are swept as usual.
    await clock.advance(3_600_000);
    await spendMany('before');
    const spent = { clientId, jti: 'good', rememberUntil: clock.now() + 420 };
    expect(await registry.spendAssertion(spent)).toBe(true);
    clock.set(clock.now() + bySeconds);
    await spendMany('ahead');
    await clock.advance(300_000);
    await spendMany('still ahead');
    clock.set(clock.now() - bySeconds);
    await spendMany('back');
    expect(clock.now()).toBeLessThan(spent.rememberUntil);
    expect(await registry.spendAssertion(spent)).toBe(false);
  });
});
