/** `POST /key-rotation` and `/finish`: a client replaces its key by itself, and nobody else's. */
import {
  createKeySigner,
  generateKey,
  type KeyRotationRequest,
  type PrivateKey,
  signAssertion,
  signKeyRotation,
} from '@latchkey/shared';
import { describe, expect, test } from 'vitest';
import {
  type Answer,
  addDevice,
  addThermostatRole,
  createTestDevice,
  execSql,
  openTestAuthority,
  type TestAuthority,
  type TestDevice,
} from '../../helpers/test-authority.ts';

const CLIENT_ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
const NOT_VALID = {
  error: 'invalid_grant',
  error_description: 'voucher or proof is not valid for this client and authority',
};

async function setup(options: Parameters<typeof openTestAuthority>[0] = {}) {
  const authority = await openTestAuthority(options);
  await addThermostatRole(authority);
  const device = await addDevice(authority);
  return { authority, device, next: generateKey() };
}

async function post(
  { authority }: TestAuthority,
  path: string,
  body: Readonly<Record<string, unknown>>,
): Promise<Answer> {
  const response = await authority.app.inject({ method: 'POST', url: path, payload: body });
  const { statusCode: status, headers } = response;
  return { status, headers, body: response.json() };
}

const sign = (
  { issuer, clock }: TestAuthority,
  { clientId, key }: TestDevice,
  next: PrivateKey,
): Promise<KeyRotationRequest> =>
  signKeyRotation({
    oldSigner: createKeySigner(key),
    newSigner: createKeySigner(next),
    ...{ issuer, clientId, now: clock.now() },
  });

async function start(authority: TestAuthority, device: TestDevice, next: PrivateKey) {
  const { voucher, proof } = await sign(authority, device, next);
  return post(authority, '/key-rotation', { voucher, proof });
}

async function finish(authority: TestAuthority, device: TestDevice): Promise<Answer> {
  const client_assertion = await device.assertion({ use: 'client-authentication' });
  const client_assertion_type = CLIENT_ASSERTION_TYPE;
  return post(authority, '/key-rotation/finish', { client_assertion_type, client_assertion });
}

const withKey = (authority: TestAuthority, { clientId }: TestDevice, key: PrivateKey) =>
  createTestDevice(authority, clientId, key);

async function getsToken(authority: TestAuthority, device: TestDevice): Promise<boolean> {
  return (await authority.token(await device.assertion())).status === 200;
}

async function kidsOf({ api }: TestAuthority): Promise<readonly string[]> {
  const { body } = await api('GET', '/clients/t-42/keys');
  return (body as { items: { kid: string }[] }).items.map(({ kid }) => kid);
}

describe('a rotation', () => {
  test('adds the new key, both are valid, and the new one ends the old', async () => {
    const { authority, device, next } = await setup();
    const answer = await start(authority, device, next);
    expect(answer.status).toBe(201);
    expect(answer.headers['cache-control']).toBe('no-store');
    expect(answer.body).toEqual({ client_id: 't-42', kid: next.publicKey.kid });
    const after = withKey(authority, device, next);
    expect(await getsToken(authority, device)).toBe(true);
    expect(await getsToken(authority, after)).toBe(true);

    const end = await finish(authority, after);
    expect([end.status, end.body]).toEqual([200, { client_id: 't-42', kid: next.publicKey.kid }]);
    expect(await kidsOf(authority)).toEqual([next.publicKey.kid]);
    expect(await getsToken(authority, device)).toBe(false);
    expect(await getsToken(authority, after)).toBe(true);
  });

  test('is asked for again when an answer was lost, and has the same end', async () => {
    const { authority, device, next } = await setup();
    await start(authority, device, next);
    const before = authority.dump();
    expect((await start(authority, device, next)).status).toBe(201);
    expect(authority.dump()).toBe(before);
    const after = withKey(authority, device, next);
    await finish(authority, after);
    const ended = authority.dump();
    expect((await finish(authority, after)).status).toBe(200);
    expect(authority.dump()).toBe(ended);
  });

  test('can follow upon a rotation', async () => {
    const { authority, device } = await setup();
    let current = device;
    for (let i = 0; i < 20; i += 1) {
      const next = generateKey();
      expect((await start(authority, current, next)).status).toBe(201);
      current = withKey(authority, device, next);
      expect((await finish(authority, current)).status).toBe(200);
    }
    expect(await kidsOf(authority)).toEqual([current.key.publicKey.kid]);
  });

  test('is in the audit log, with who did it and to which key', async () => {
    const { authority, device, next } = await setup();
    await start(authority, device, next);
    await finish(authority, withKey(authority, device, next));
    const { body } = await authority.api('GET', '/audit?type=key-rotation');
    const { kid } = next.publicKey;
    expect((body as { items: unknown[] }).items).toMatchObject([
      { action: 'start', outcome: 'ok', actor: 't-42', client_id: 't-42', kid },
      { action: 'finish', outcome: 'ok', actor: 't-42', client_id: 't-42', kid },
    ]);
  });

  test('the new key ends when the old one would have: a device cannot prolong its own life', async () => {
    const { authority, device, next } = await setup();
    const until = authority.clock.now() + 3600;
    execSql(authority, `UPDATE client_key SET expires_at = ${until} WHERE client = 't-42'`);
    await start(authority, device, next);
    const after = withKey(authority, device, next);
    await finish(authority, after);
    authority.clock.set(until - 1);
    expect(await getsToken(authority, after)).toBe(true);
    authority.clock.set(until);
    expect(await getsToken(authority, after)).toBe(false);
  });
});

describe('the start is refused', () => {
  const changes = [
    { name: 'a suspended client', sql: "UPDATE client SET status = 'suspended' WHERE id = 't-42'" },
    { name: 'a revoked client', sql: "UPDATE client SET status = 'revoked' WHERE id = 't-42'" },
    { name: 'an old key that has expired', sql: 'UPDATE client_key SET expires_at = 1' },
    { name: 'an old key that is not valid yet', sql: 'UPDATE client_key SET not_before = 1e11' },
    { name: 'an old key that was removed', sql: "DELETE FROM client_key WHERE client = 't-42'" },
  ];
  test.each(changes)('for $name', async ({ sql }) => {
    const { authority, device, next } = await setup();
    const limited = sql.startsWith('UPDATE client_key') ? `${sql} WHERE client = 't-42'` : sql;
    execSql(authority, limited);
    const before = authority.dump();
    const { status, body } = await start(authority, device, next);
    expect([status, body]).toEqual([400, NOT_VALID]);
    expect(authority.dump()).toBe(before);
  });

  test('for a client that nobody knows, and for the key of another: one answer for all', async () => {
    const { authority, device, next } = await setup();
    const other = await addDevice(authority, 't-43');
    const before = authority.dump();
    for (const stranger of [
      createTestDevice(authority, 't-99'),
      withKey(authority, device, other.key),
      withKey(authority, other, device.key),
    ]) {
      const { status, body } = await start(authority, stranger, next);
      expect([status, body]).toEqual([400, NOT_VALID]);
    }
    expect(authority.dump()).toBe(before);
  });

  test('I6: for a voucher that was used, at once or together', async () => {
    const { authority, device, next } = await setup();
    const { voucher, proof } = await sign(authority, device, next);
    const send = () => post(authority, '/key-rotation', { voucher, proof });
    const answers = await Promise.all([send(), send(), send()]);
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 400, 400]);
    expect((await send()).body).toEqual(NOT_VALID);
  });

  test('I9: for a key of another client, also one of before', async () => {
    const { authority, device } = await setup();
    const other = await addDevice(authority, 't-43');
    const before = authority.dump();
    const { status, body } = await start(authority, device, other.key);
    expect([status, (body as { error: string }).error]).toEqual([400, 'invalid_grant']);
    expect((await authority.api('POST', '/clients/t-43/revoke', {})).status).toBe(200);
    expect((await start(authority, device, other.key)).status).toBe(400);
    expect(await kidsOf(authority)).toEqual([device.key.publicKey.kid]);
    expect(before).toContain(other.key.publicKey.kid);
  });

  test('while another rotation is under way, by an operator or with another key', async () => {
    const { authority, device, next } = await setup();
    await authority.api('POST', '/clients/t-42/keys/rotation/start', {
      public_key: generateKey().publicKey.jwk,
    });
    const { status, body } = await start(authority, device, next);
    expect(status).toBe(400);
    expect(body).toMatchObject({
      error: 'invalid_request',
      error_description: expect.stringContaining('operator'),
    });
    expect(await kidsOf(authority)).toHaveLength(2);
  });

  test.each([
    { name: 'nothing', body: {} },
    { name: 'no proof', body: { voucher: 'a.b.c' } },
    { name: 'a number', body: { voucher: 7, proof: 'x' } },
  ])('for a body with $name', async ({ body }) => {
    const { authority } = await setup();
    const answer = await post(authority, '/key-rotation', body);
    expect(answer.body).toMatchObject({ error: 'invalid_request' });
  });

  test('for a good assertion of another kind in place of the voucher', async () => {
    const { authority, device, next } = await setup();
    const { proof } = await sign(authority, device, next);
    const voucher = await signAssertion(createKeySigner(device.key), {
      ...{ clientId: device.clientId, issuer: authority.issuer, now: authority.clock.now() },
      ...{ use: 'client-authentication', vouchedJwk: next.publicKey.jwk },
    });
    const answer = await post(authority, '/key-rotation', { voucher, proof });
    expect([answer.status, answer.body]).toEqual([400, NOT_VALID]);
  });

  test('and a voucher gets no token', async () => {
    const { authority, device, next } = await setup();
    const { voucher } = await sign(authority, device, next);
    expect((await authority.token(voucher)).status).toBe(400);
  });

  test('I11: when the client has asked too often', async () => {
    const generous = { perSecond: 1000, burst: 10_000 };
    const limits = { address: generous, client: { perSecond: 1, burst: 12 } };
    const { authority, device, next } = await setup({ limits });
    const statuses: number[] = [];
    for (let i = 0; i < 14; i += 1) statuses.push((await start(authority, device, next)).status);
    expect(statuses).toEqual([...Array(12).fill(201), 429, 429]);
  });
});

describe('the finish is refused', () => {
  test('by the old key, which stays', async () => {
    const { authority, device, next } = await setup();
    await start(authority, device, next);
    const { status, body } = await finish(authority, device);
    expect([status, body]).toMatchObject([400, { error: 'invalid_grant' }]);
    expect(await kidsOf(authority)).toHaveLength(2);
  });

  test('by a key that was not added, and by nobody', async () => {
    const { authority, device, next } = await setup();
    expect((await finish(authority, withKey(authority, device, next))).status).toBe(401);
    expect((await post(authority, '/key-rotation/finish', {})).status).toBe(401);
  });

  test('by a third key of the client', async () => {
    const { authority, device, next } = await setup();
    const third = generateKey();
    await authority.api('POST', '/clients/t-42/keys', { public_key: third.publicKey.jwk });
    await start(authority, device, next);
    expect((await finish(authority, withKey(authority, device, third))).status).toBe(400);
    expect(await kidsOf(authority)).toHaveLength(3);
  });

  test('for a client that was suspended meanwhile', async () => {
    const { authority, device, next } = await setup();
    await start(authority, device, next);
    expect((await authority.api('POST', '/clients/t-42/suspend', {})).status).toBe(200);
    expect((await finish(authority, withKey(authority, device, next))).status).toBe(401);
    expect(await kidsOf(authority)).toHaveLength(2);
  });

  test('after an operator cancelled the rotation: the new key is no key any more', async () => {
    const { authority, device, next } = await setup();
    await start(authority, device, next);
    await authority.api('POST', '/clients/t-42/keys/rotation/cancel', {});
    expect((await finish(authority, withKey(authority, device, next))).status).toBe(401);
    expect(await getsToken(authority, device)).toBe(true);
  });
});

test('I1: no voucher, proof or key is in the log, whatever is refused', async () => {
  const { authority, device, next } = await setup();
  const { voucher, proof } = await sign(authority, device, next);
  await post(authority, '/key-rotation', { voucher, proof });
  await post(authority, '/key-rotation', { voucher, proof });
  await post(authority, '/key-rotation', { voucher, proof: voucher });
  await finish(authority, device);
  const said = JSON.stringify(authority.log.lines);
  for (const secret of [voucher, proof]) expect(said).not.toContain(secret.slice(-40));
});
