/** What requests leave in the audit log: who, what, and whether it was done; never a secret. */
import type { AuditRecord, Registry } from '@latchkey/authority';
import { generateKey } from '@latchkey/shared';
import { describe, expect, test } from 'vitest';
import { allEvents, faultOf } from '../../helpers/audit-events.ts';
import { addService, basic, post } from '../../helpers/oauth-requests.ts';
import {
  addCode,
  addDevice,
  addThermostatRole,
  BROKER,
  createTestDevice,
  enrollmentRequest,
  execSql,
  openTestAuthority,
  type TestAuthority,
} from '../../helpers/test-authority.ts';

/** Events that `work` leaves, without those of the operator's own tokens. */
async function eventsOf(registry: Registry, work: () => Promise<unknown>) {
  const { lastSequence } = await registry.auditState();
  await work();
  const events = await allEvents(registry);
  expect(await faultOf(registry)).toBeUndefined();
  return events.filter(
    ({ sequence, actor, type }) =>
      sequence > lastSequence && !(actor === 'operator' && type === 'token'),
  );
}

/** The fields that tell something, without those that differ each time. */
function told(event: AuditRecord | undefined): Partial<AuditRecord> {
  const { sequence, at, previousHash, hash, ...rest } = event as AuditRecord;
  return JSON.parse(JSON.stringify(rest));
}

async function setup(): Promise<TestAuthority> {
  const authority = await openTestAuthority();
  await addThermostatRole(authority);
  return authority;
}

const ADDRESS = '127.0.0.1';

describe('a token request', () => {
  test('that is answered leaves one event, with the token id that the client got', async () => {
    const authority = await setup();
    const device = await addDevice(authority);
    let token = '';
    const events = await eventsOf(authority.registry, async () => {
      const { body } = await authority.token(await device.assertion(), { scope: 'telemetry' });
      token = (body as { access_token: string }).access_token;
    });
    const claims = JSON.parse(Buffer.from(token.split('.')[1] as string, 'base64url').toString());
    expect(events.map(told)).toEqual([
      {
        type: 'token',
        actor: 't-42',
        action: 'issue',
        target: BROKER,
        outcome: 'ok',
        address: ADDRESS,
        clientId: 't-42',
        jti: claims.jti,
        kid: device.key.publicKey.kid,
        detail: 'pub:devices/t-42/telemetry/#',
      },
    ]);
  });

  test.each([
    {
      name: 'a replay',
      send: async (authority: TestAuthority) => {
        const assertion = await (await addDevice(authority)).assertion({ jti: 'j'.repeat(22) });
        await authority.token(assertion);
        return () => authority.token(assertion);
      },
      detail: `invalid_grant: replay of jti ${'j'.repeat(22)}`,
      clientId: 't-42',
    },
    {
      name: 'a bad signature',
      send: async (authority: TestAuthority) => {
        await addDevice(authority);
        const stranger = createTestDevice(authority, 't-42', generateKey());
        const assertion = await stranger.assertion();
        return () => authority.token(assertion);
      },
      detail: expect.stringMatching(/^invalid_grant: /),
      clientId: 't-42',
    },
    {
      name: 'a scope that the client does not have',
      send: async (authority: TestAuthority) => {
        const device = await addDevice(authority);
        return async () => authority.token(await device.assertion(), { scope: 'pub:#' });
      },
      detail: expect.stringMatching(/^invalid_scope: /),
      clientId: 't-42',
    },
    {
      name: 'a wrong secret',
      send: async (authority: TestAuthority) => () =>
        post(
          authority,
          '/token',
          { grant_type: 'client_credentials' },
          basic('operator', `lks_${'x'.repeat(43)}`),
        ),
      detail: expect.stringMatching(/^invalid_client: /),
      clientId: 'operator',
    },
    {
      name: 'nothing at all',
      send: async (authority: TestAuthority) => () => authority.form([]),
      detail: 'invalid_request: grant_type is missing',
      clientId: undefined,
    },
    {
      name: 'a body that is too large',
      send: async (authority: TestAuthority) => () =>
        authority.form([['grant_type', 'x'.repeat(20_000)]]),
      detail: 'invalid_request: the body is too large',
      clientId: undefined,
    },
  ])('with $name leaves one event with the reason and no actor', async (row) => {
    const authority = await setup();
    const send = await row.send(authority);
    const events = await eventsOf(authority.registry, send);
    expect(events.map(told)).toEqual([
      {
        type: 'token',
        action: 'issue',
        outcome: 'refused',
        address: ADDRESS,
        detail: row.detail,
        ...(row.clientId !== undefined && { clientId: row.clientId }),
      },
    ]);
  });

  test('is not answered with a token that could not be recorded', async () => {
    const authority = await setup();
    const device = await addDevice(authority);
    execSql(
      authority,
      "CREATE TRIGGER full BEFORE INSERT ON audit_event WHEN NEW.type = 'token' BEGIN SELECT RAISE(ABORT, 'no'); END",
    );
    const answer = await authority.token(await device.assertion());
    expect(answer.status).toBe(500);
    expect(answer.body).toMatchObject({ error: 'server_error' });
    execSql(authority, 'DROP TRIGGER full');
    expect((await authority.token(await device.assertion())).status).toBe(200);
  });

  test('that is held back by a rate limit leaves nothing', async () => {
    const authority = await openTestAuthority({
      limits: { address: { perSecond: 1, burst: 1 }, client: { perSecond: 1, burst: 1 } },
    });
    const events = await eventsOf(authority.registry, async () => {
      expect((await authority.form([])).status).toBe(400);
      expect((await authority.form([])).status).toBe(429);
    });
    expect(events).toHaveLength(1);
  });
});

describe('an enrollment', () => {
  test('leaves one event, and so does one that is refused', async () => {
    const authority = await setup();
    const code = await addCode(authority, { client_id: 't-1' });
    const device = createTestDevice(authority, 't-1');
    const { kid } = device.key.publicKey;
    const done = await eventsOf(authority.registry, async () =>
      authority.enroll(await enrollmentRequest(authority, device, code)),
    );
    const base = { type: 'enrollment', action: 'enroll', address: ADDRESS, clientId: 't-1' };
    expect(done.map(told)).toEqual([{ ...base, outcome: 'ok', kid }]);
    const other = createTestDevice(authority, 't-1');
    const refused = await eventsOf(authority.registry, async () =>
      authority.enroll(await enrollmentRequest(authority, other, code)),
    );
    expect(refused.map(told)).toEqual([
      {
        ...base,
        outcome: 'refused',
        kid: other.key.publicKey.kid,
        detail: expect.stringMatching(/^invalid_grant: /),
      },
    ]);
    expect(JSON.stringify([done, refused])).not.toContain(code);
  });
});

describe('a revocation of a token', () => {
  test('leaves one event with its id', async () => {
    const authority = await setup();
    const second = await addService(authority, 'second', { roles: ['operator'] });
    const { body } = await post(
      authority,
      '/token',
      { grant_type: 'client_credentials' },
      second.basic,
    );
    const token = String(body.access_token);
    const { jti } = JSON.parse(Buffer.from(token.split('.')[1] as string, 'base64url').toString());
    const events = await eventsOf(authority.registry, () =>
      post(authority, '/revoke', { token }, second.basic),
    );
    expect(events.map(told)).toEqual([
      {
        type: 'token',
        actor: 'second',
        action: 'revoke',
        target: `${authority.issuer}/api`,
        outcome: 'ok',
        address: ADDRESS,
        clientId: 'second',
        jti,
      },
    ]);
  });
});

describe('the management API', () => {
  const base = { type: 'management', actor: 'operator', address: ADDRESS };

  test.each<{
    name: string;
    request: readonly ['POST', string, object];
    event: Partial<AuditRecord>;
  }>([
    {
      name: 'creates',
      request: ['POST', '/roles', { name: 'r', permissions: ['telemetry'] }],
      event: { action: 'create', target: '/roles/r', outcome: 'ok' },
    },
    {
      name: 'registers a device',
      request: ['POST', '/devices', { client_id: 't-9' }],
      event: { action: 'create', target: '/devices/t-9', outcome: 'ok', clientId: 't-9' },
    },
    {
      name: 'makes an enrollment code',
      request: ['POST', '/enrollments', { id_pattern: 'x-*' }],
      event: { action: 'create', target: '/enrollments/1', outcome: 'ok' },
    },
    {
      name: 'does what the path says',
      request: ['POST', '/clients/t-42/suspend', {}],
      event: { action: 'suspend', target: '/clients/t-42', outcome: 'ok', clientId: 't-42' },
    },
    {
      name: 'refuses what is taken',
      request: ['POST', '/roles', { name: 'thermostat', permissions: ['telemetry'] }],
      event: {
        action: 'create',
        target: '/roles',
        outcome: 'refused',
        detail: expect.stringContaining('name'),
      },
    },
    {
      name: 'refuses a field that is not known',
      request: ['POST', '/roles', { name: 'r', x: 1 }],
      event: {
        action: 'create',
        target: '/roles',
        outcome: 'refused',
        detail: expect.stringContaining('unknown key'),
      },
    },
    {
      name: 'refuses what is not there',
      request: ['POST', '/clients/nope/suspend', {}],
      event: {
        action: 'suspend',
        target: '/clients/nope',
        outcome: 'refused',
        clientId: 'nope',
        detail: expect.stringContaining('no such'),
      },
    },
  ])('$name, and leaves one event', async ({ request, event }) => {
    const authority = await setup();
    await addDevice(authority);
    const events = await eventsOf(authority.registry, () => authority.api(...request));
    expect(events.map(told)).toEqual([{ ...base, ...event }]);
  });

  test('leaves nothing of what only reads', async () => {
    const authority = await setup();
    const events = await eventsOf(authority.registry, async () => {
      for (const path of ['/roles', '/audit', '/audit/state', '/clients?limit=0', '/nope']) {
        await authority.api('GET', path);
      }
    });
    expect(events).toEqual([]);
  });

  test('leaves an event of each change that a stranger tries, with a verb for its action', async () => {
    const authority = await setup();
    const { body } = await authority.api('GET', '/openapi.json');
    const { paths } = body as { paths: Record<string, Record<string, unknown>> };
    let changes = 0;
    for (const [path, methods] of Object.entries(paths)) {
      for (const method of Object.keys(methods)) {
        if (!['post', 'patch', 'put', 'delete'].includes(method)) continue;
        const url = `/api/v1${path.replace(/^\/api\/v1/, '').replace(/\{[^}]+\}/g, 'x')}`;
        const events = await eventsOf(authority.registry, async () => {
          const { statusCode } = await authority.authority.app.inject({
            method: method.toUpperCase() as 'POST',
            url,
            payload: {},
          });
          expect(statusCode, `${method} ${url}`).toBe(401);
        });
        expect(events, `${method} ${url}`).toHaveLength(1);
        const [event] = events as [AuditRecord];
        expect(event.actor).toBeUndefined();
        expect(event.outcome).toBe('refused');
        expect(event.action, url).toMatch(
          /^(?:create|change|delete|suspend|resume|revoke|free|start|finish|cancel|rotate|void-tokens|[a-z-]+)$/,
        );
        expect(event.action.endsWith('s') && event.action !== 'void-tokens', url).toBe(false);
        changes += 1;
      }
    }
    expect(changes).toBeGreaterThan(20);
  });

  test('changes nothing when the event of the change cannot be recorded', async () => {
    const authority = await setup();
    const before = authority.dump();
    execSql(
      authority,
      "CREATE TRIGGER full BEFORE INSERT ON audit_event WHEN NEW.type = 'management' BEGIN SELECT RAISE(ABORT, 'no'); END",
    );
    const { status } = await authority.api('POST', '/roles', {
      name: 'r',
      permissions: ['telemetry'],
    });
    expect(status).toBe(500);
    execSql(authority, 'DROP TRIGGER full');
    expect(authority.dump()).toBe(before);
  });

  test('keeps what a stranger writes into a path short and printable', async () => {
    const authority = await setup();
    const path = `/api/v1/clients/${encodeURIComponent('\u0007\u009b31m')}${'x'.repeat(600)}/suspend`;
    const events = await eventsOf(authority.registry, () =>
      authority.authority.app.inject({ method: 'POST', url: path, payload: {} }),
    );
    expect(events).toHaveLength(1);
    const { clientId, target } = events[0] as AuditRecord;
    expect(clientId).toMatch(/^\?\?31mx+$/);
    expect(clientId?.length).toBe(256);
    expect(target?.length).toBe(256);
  });
});
