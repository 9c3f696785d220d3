/** `POST /enroll`: who may bind a key, how often, and what a refusal tells. */
import { generateKey, newEnrollmentCode } from '@latchkey/shared';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  addCode,
  addDevice,
  addThermostatRole,
  createTestDevice,
  enrollmentRequest,
  execSql,
  openTestAuthority,
  type TestAuthority,
} from '../../helpers/test-authority.ts';

const REFUSED = {
  error: 'invalid_grant',
  error_description: 'the enrollment code is not valid for this client',
};

async function setup(): Promise<TestAuthority> {
  const authority = await openTestAuthority();
  await addThermostatRole(authority);
  return authority;
}

/** Enrolls a device of that id with a new key, or the one given. */
async function enroll(authority: TestAuthority, code: string, id: string, key = generateKey()) {
  const device = createTestDevice(authority, id, key);
  const answer = await authority.enroll(await enrollmentRequest(authority, device, code));
  return { device, answer };
}

describe('a good code', () => {
  test('makes a device with the roles and labels of the code, which then gets a token', async () => {
    const authority = await setup();
    const code = await addCode(authority, { client_id: 't-42', labels: { site: 'berlin' } });
    const { device, answer } = await enroll(authority, code, 't-42');
    expect(answer.status).toBe(201);
    expect(answer.headers['cache-control']).toBe('no-store');
    expect(answer.body).toEqual({
      client_id: 't-42',
      kid: device.key.publicKey.kid,
      issuer: authority.issuer,
    });
    expect((await authority.api('GET', '/devices/t-42')).body).toMatchObject({
      client_id: 't-42',
      status: 'active',
      roles: ['thermostat'],
      labels: { site: 'berlin' },
      keys: [
        {
          kid: device.key.publicKey.kid,
          public_key: device.key.publicKey.jwk,
          created_at: authority.clock.now(),
          not_before: null,
          expires_at: null,
        },
      ],
      created_at: authority.clock.now(),
    });
    expect((await authority.token(await device.assertion())).status).toBe(200);
    expect(authority.log.all('client.enrolled')).toEqual([
      { event: 'client.enrolled', clientId: 't-42', kid: device.key.publicKey.kid },
    ]);
  });

  test('binds the key to a registered device that waits for one, and adds what the code carries', async () => {
    const authority = await setup();
    await authority.api('POST', '/devices', {
      client_id: 't-42',
      labels: { site: 'berlin', floor: '1' },
    });
    const code = await addCode(authority, { client_id: 't-42', labels: { floor: '2' } });
    const { answer } = await enroll(authority, code, 't-42');
    expect(answer.status).toBe(201);
    expect((await authority.api('GET', '/devices/t-42')).body).toMatchObject({
      roles: ['thermostat'],
      labels: { site: 'berlin', floor: '2' },
    });
  });

  test('gives the same answer again after a power cut, also when it is used up and expired', async () => {
    const authority = await setup();
    const code = await addCode(authority, { client_id: 't-42', expires_in_seconds: 60 });
    const key = generateKey();
    const first = await enroll(authority, code, 't-42', key);
    const before = authority.dump();
    authority.clock.set(authority.clock.now() + 61);
    const second = await enroll(authority, code, 't-42', key);
    expect(second.answer).toMatchObject({ status: 201, body: first.answer.body as object });
    expect(authority.dump()).toBe(before);
    expect(authority.log.all('client.enrolled')).toHaveLength(1);
    expect((await enroll(authority, code, 't-42')).answer.body).toEqual(REFUSED);
  });

  test('is answered, and not spent, by a device that holds the key already', async () => {
    const authority = await setup();
    const key = generateKey();
    await enroll(authority, await addCode(authority, { client_id: 't-42' }), 't-42', key);
    const another = await addCode(authority, { client_id: 't-42' });
    const before = authority.dump();
    expect((await enroll(authority, another, 't-42', key)).answer.status).toBe(201);
    expect(authority.dump()).toBe(before);
  });

  test.each([
    { name: 'its last second', wait: 59, ok: true },
    { name: 'expires_at exactly', wait: 60, ok: false },
  ])('at $name: $ok', async ({ wait, ok }) => {
    const authority = await setup();
    const code = await addCode(authority, { expires_in_seconds: 60 });
    authority.clock.set(authority.clock.now() + wait);
    const { answer } = await enroll(authority, code, 't-1');
    expect(answer.status).toBe(ok ? 201 : 400);
  });
});

describe('a refused enrollment has one answer and changes nothing:', () => {
  test.each([
    {
      name: 'unknown code',
      prepare: async () => newEnrollmentCode(),
    },
    {
      name: 'spent code',
      prepare: async (authority: TestAuthority) => {
        const code = await addCode(authority);
        expect((await enroll(authority, code, 't-1')).answer.status).toBe(201);
        return code;
      },
    },
    {
      name: 'expired code',
      prepare: async (authority: TestAuthority) => {
        const code = await addCode(authority, { expires_in_seconds: 5 });
        authority.clock.set(authority.clock.now() + 5);
        return code;
      },
    },
    {
      name: 'code of another client id',
      prepare: (authority: TestAuthority) => addCode(authority, { client_id: 't-43' }),
    },
    {
      name: 'id that does not match the pattern',
      prepare: (authority: TestAuthority) => addCode(authority, { id_pattern: 'x-*' }),
    },
    {
      name: 'takeover of a pre-registered device by a pattern',
      prepare: async (authority: TestAuthority) => {
        await authority.api('POST', '/devices', { client_id: 't-42', roles: ['thermostat'] });
        return addCode(authority, { id_pattern: 't-*', uses: 5 });
      },
    },
    {
      name: 'takeover of a device with a key',
      prepare: async (authority: TestAuthority) => {
        await addDevice(authority, 't-42');
        return addCode(authority, { client_id: 't-42' });
      },
    },
    {
      name: 'suspended device that waits for its key',
      prepare: async (authority: TestAuthority) => {
        await authority.api('POST', '/devices', { client_id: 't-42' });
        const code = await addCode(authority, { client_id: 't-42' });
        execSql(authority, "UPDATE client SET status = 'suspended' WHERE id = 't-42'");
        return code;
      },
    },
  ])('$name', async ({ prepare }) => {
    const authority = await setup();
    const code = await prepare(authority);
    const before = authority.dump();
    const { answer } = await enroll(authority, code, 't-42');
    expect(answer.status).toBe(400);
    expect(answer.body).toEqual(REFUSED);
    expect(authority.dump()).toBe(before);
  });

  test('the operator, a service, cannot be taken over', async () => {
    const authority = await setup();
    const code = await addCode(authority, { uses: 5 });
    expect((await enroll(authority, code, 'operator')).answer.body).toEqual(REFUSED);
    const named = await authority.api('POST', '/enrollments', { client_id: 'operator' });
    expect(named).toMatchObject({
      status: 409,
      body: { errors: [{ field: 'client_id', message: 'is not that of a device' }] },
    });
  });

  test('a key that another client has', async () => {
    const authority = await setup();
    const { key } = await addDevice(authority, 't-1');
    const code = await addCode(authority, { uses: 5 });
    const before = authority.dump();
    expect((await enroll(authority, code, 't-42', key)).answer.body).toEqual(REFUSED);
    expect(authority.dump()).toBe(before);
  });

  test.each([
    { name: 'the proof of another code', change: { code: newEnrollmentCode() } },
    { name: 'the proof of another client id', change: { id: 't-43' } },
    { name: 'the proof of another key', change: { key: generateKey() } },
    { name: 'the proof for another authority', change: { issuer: 'https://other.example' } },
  ])('$name', async ({ change }) => {
    const authority = await setup();
    const code = await addCode(authority);
    const device = createTestDevice(authority);
    const body = await enrollmentRequest(authority, device, code);
    const other = await enrollmentRequest(
      { ...authority, ...(change.issuer && { issuer: change.issuer as never }) },
      createTestDevice(authority, change.id ?? 't-42', change.key ?? device.key),
      change.code ?? code,
    );
    const before = authority.dump();
    const answer = await authority.enroll({ ...body, proof: other.proof });
    expect(answer.body).toEqual({
      error: 'invalid_grant',
      error_description: 'proof is not valid for this code, client id, key and authority',
    });
    expect(authority.dump()).toBe(before);
  });

  test.each([
    { name: 'at the edge', offset: -600, status: 201 },
    { name: 'beyond', offset: -601, status: 400 },
  ])('a clock that is wrong, $name: $status', async ({ offset, status }) => {
    const authority = await setup();
    const code = await addCode(authority);
    const now = authority.clock.now();
    authority.clock.set(now + offset);
    const body = await enrollmentRequest(authority, createTestDevice(authority), code);
    authority.clock.set(now);
    const answer = await authority.enroll(body);
    expect(answer.status).toBe(status);
    if (status === 201) return;
    expect(answer.body).toMatchObject({
      error_description: "the client's clock differs by about 601 s (it is behind)",
    });
  });
});

describe('malformed input names the field and changes nothing:', () => {
  const WEAK = { kty: 'OKP', crv: 'Ed25519', x: `AQ${'A'.repeat(41)}` };
  test.each([
    { name: 'no code', change: { enrollment_code: undefined }, says: 'enrollment_code is missing' },
    { name: 'not a code', change: { enrollment_code: 'x' }, says: /^enrollment_code must be lke_/ },
    { name: 'a client id with /', change: { client_id: 'a/b' }, says: /^client_id must be/ },
    {
      name: 'a client id that is too long',
      change: { client_id: 'a'.repeat(65) },
      says: /^client_id/,
    },
    {
      name: 'a key of small order',
      change: { public_key: WEAK },
      says: /^public_key is not a canonical Ed25519 point of prime order/,
    },
    {
      name: 'a private key',
      change: { public_key: { ...WEAK, d: 'AA' } },
      says: /^public_key holds/,
    },
    {
      name: 'an X25519 key',
      change: { public_key: { ...WEAK, crv: 'X25519' } },
      says: /^public_key must/,
    },
    { name: 'a key as text', change: { public_key: 'AA' }, says: /^public_key must be/ },
    { name: 'no proof', change: { proof: undefined }, says: 'proof is missing' },
    { name: 'an unknown member', change: { admin: true }, says: 'admin unknown key' },
  ])('$name', async ({ change, says }) => {
    const authority = await setup();
    const code = await addCode(authority);
    const body = await enrollmentRequest(authority, createTestDevice(authority), code);
    const before = authority.dump();
    const answer = await authority.enroll({ ...body, ...change });
    expect(answer).toMatchObject({ status: 400, body: { error: 'invalid_request' } });
    expect((answer.body as { error_description: string }).error_description).toMatch(says);
    expect(authority.dump()).toBe(before);
  });

  test.each([
    { name: 'a body of 1 MB', payload: `{"a":"${'x'.repeat(1_000_000)}"}`, status: 413 },
    { name: 'not JSON', payload: '{', status: 400 },
    { name: 'an array', payload: '[]', status: 400 },
    { name: 'a member twice', payload: '{"proof":"a","proof":"b"}', status: 400 },
  ])('$name', async ({ payload, status }) => {
    const { authority } = await openTestAuthority();
    const response = await authority.app.inject({
      method: 'POST',
      url: '/enroll',
      headers: { 'content-type': 'application/json' },
      payload,
    });
    expect(response.statusCode).toBe(status);
    expect(response.json()).toMatchObject({ error: 'invalid_request' });
  });
});

describe('the uses of a code', () => {
  test('are never exceeded by devices that come at once', async () => {
    const authority = await setup();
    const code = await addCode(authority, { id_pattern: 't-*', uses: 3 });
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => enroll(authority, code, `t-${i}`)),
    );
    expect(answers.filter(({ answer }) => answer.status === 201)).toHaveLength(3);
    const { items } = (await authority.api('GET', '/devices')).body as { items: unknown[] };
    expect(items).toHaveLength(3);
  });

  test('are counted once for each device, whatever is repeated, raced or late', async () => {
    const authority = await setup();
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 3 }),
        fc.array(
          fc.record({
            device: fc.nat({ max: 3 }),
            key: fc.nat({ max: 3 }),
            wait: fc.nat({ max: 40 }),
          }),
          { minLength: 1, maxLength: 12 },
        ),
        fc.string({ minLength: 8, maxLength: 8, unit: fc.constantFrom(...'abcdefghijklmnop') }),
        async (uses, attempts, run) => {
          const code = await addCode(authority, {
            id_pattern: `${run}-*`,
            uses,
            expires_in_seconds: 60,
          });
          // Keys belong to one client for ever, so each run has its own.
          const fresh = Array.from({ length: 4 }, () => generateKey());
          const expiresAt = authority.clock.now() + 60;
          const bound = new Map<number, number>();
          for (const { device, key, wait } of attempts) {
            authority.clock.set(authority.clock.now() + wait);
            const { answer } = await enroll(authority, code, `${run}-${device}`, fresh[key]);
            const isRepeated = bound.get(device) === key;
            const isFree = !bound.has(device) && ![...bound.values()].includes(key);
            const isLive = bound.size < uses && authority.clock.now() < expiresAt;
            const expected = isRepeated || (isFree && isLive) ? 201 : 400;
            expect(answer.status).toBe(expected);
            if (expected === 201) bound.set(device, key);
          }
        },
      ),
      { numRuns: 25 },
    );
  });
});
