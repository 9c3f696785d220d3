/**
 * What every implementation of `Registry` must do; SQLite today, others run the same suite.
 *
 * @module
 */
import { ConflictError, type NewClient, type Registry, type SigningKey } from '@latchkey/authority';
import {
  FormatError,
  generateIssuerKey,
  generateKey,
  parseClientId,
  parsePermissionName,
  parseResourceId,
  parseRoleName,
  type TokenAlgorithm,
} from '@latchkey/shared';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createDrivenClock, type DrivenClock } from './driven-clock.ts';

export interface OpenRegistry {
  readonly registry: Registry;
  /** Closes it and opens the same storage again. */
  reopen(): Promise<Registry>;
}

const BROKER = parseResourceId('mqtts://broker.example');
const API = parseResourceId('https://id.example/api');
const TELEMETRY = parsePermissionName('telemetry');
const SITE = parsePermissionName('site');
const ROLE = parseRoleName('thermostat');
const SITED = parseRoleName('sited');
const PAGE = { limit: 100, after: undefined };

const device = (id: string, more: Partial<NewClient> = {}): NewClient => ({
  id: parseClientId(id),
  kind: 'device',
  roles: [],
  labels: new Map(),
  key: undefined,
  ...more,
});

async function fill(registry: Registry): Promise<void> {
  await registry.createResource({ identifier: BROKER, kind: 'mqtt', tokenTtlSeconds: 600 });
  await registry.createResource({ identifier: API, kind: 'http', tokenTtlSeconds: 60 });
  const telemetry = ['pub:devices/{client_id}/telemetry/#'];
  await registry.createPermission({ name: TELEMETRY, resource: BROKER, scopes: telemetry });
  await registry.createPermission({
    name: SITE,
    resource: BROKER,
    scopes: ['pub:sites/{labels.site}/+'],
  });
  await registry.createRole({ name: ROLE, permissions: [TELEMETRY] });
  await registry.createRole({ name: SITED, permissions: [SITE, TELEMETRY] });
}

/** Declares the suite; `open` makes an empty registry that ends with the test. */
export function describeRegistry(
  name: string,
  open: (clock: DrivenClock) => Promise<OpenRegistry>,
): void {
  const setup = async () => {
    const clock = createDrivenClock();
    const opened = await open(clock);
    await fill(opened.registry);
    return { ...opened, clock };
  };

  describe(`${name}: what was created`, () => {
    test('is there after the registry was closed and opened', async () => {
      const { registry, reopen, clock } = await setup();
      const key = generateKey().publicKey;
      const labels = new Map([
        ['site', 'berlin'],
        ['constructor', 'x'],
      ]);
      const created = await registry.createClient(device('t-1', { roles: [SITED], labels, key }));
      expect(created).toEqual({
        id: 't-1',
        kind: 'device',
        status: 'active',
        roles: [SITED],
        labels,
        keys: [
          {
            kid: key.kid,
            jwk: key.jwk,
            label: '',
            createdAt: clock.now(),
            notBefore: undefined,
            expiresAt: undefined,
          },
        ],
        keyRotation: undefined,
        secrets: [],
        secretRotation: undefined,
        mayMint: false,
        tokenTtlSeconds: undefined,
        tokensNotBefore: 0,
        limitedToLabel: undefined,
        createdAt: clock.now(),
        version: 1,
      });
      const again = await reopen();
      expect(await again.client(parseClientId('t-1'))).toEqual(created);
      expect(await again.permission(SITE)).toMatchObject({ scopes: ['pub:sites/{labels.site}/+'] });
      expect(await again.role(SITED)).toMatchObject({ permissions: [SITE, TELEMETRY] });
      expect(await again.resource(BROKER)).toMatchObject({ tokenTtlSeconds: 600 });
    });

    test('is undefined when it is not there', async () => {
      const { registry } = await setup();
      expect(await registry.client(parseClientId('nope'))).toBeUndefined();
      expect(await registry.role(parseRoleName('nope'))).toBeUndefined();
      expect(await registry.permission(parsePermissionName('nope'))).toBeUndefined();
      expect(await registry.resource(parseResourceId('a:b'))).toBeUndefined();
      expect(await registry.enrollment(1)).toBeUndefined();
      expect(await registry.rights(parseClientId('nope'))).toBeUndefined();
      expect(await registry.activeKey(parseClientId('nope'), undefined)).toBeUndefined();
    });

    test('is listed in pages that hold everything once, whatever their size', async () => {
      const { registry } = await setup();
      const ids = Array.from({ length: 11 }, (_, i) => `d-${String(i).padStart(2, '0')}`);
      for (const id of ids) await registry.createClient(device(id));
      await registry.createClient(device('s-1', { kind: 'service' }));
      await fc.assert(
        fc.asyncProperty(fc.integer({ min: 1, max: 13 }), async (limit) => {
          const seen: string[] = [];
          let after: string | undefined;
          do {
            const page = await registry.listClients({ kind: 'device' }, { limit, after });
            expect(page.items.length).toBeLessThanOrEqual(limit);
            seen.push(...page.items.map(({ id }) => id));
            after = page.next;
          } while (after !== undefined);
          expect(seen).toEqual(ids);
        }),
      );
    });
  });

  describe(`${name}: a refusal leaves nothing behind`, () => {
    const KEY = generateKey().publicKey;
    test.each([
      {
        name: 'duplicate client',
        attempt: (r: Registry) => r.createClient(device('t-1', { roles: [ROLE] })),
        error: ConflictError,
        field: 'client_id',
      },
      {
        name: 'key of another client',
        attempt: (r: Registry) => r.createClient(device('t-2', { key: KEY, roles: [ROLE] })),
        error: ConflictError,
        field: 'public_key',
      },
      {
        name: 'unknown role after a known one',
        attempt: (r: Registry) =>
          r.createClient(device('t-2', { roles: [ROLE, parseRoleName('nope')] })),
        error: FormatError,
        field: 'roles',
      },
      {
        name: 'role without its label',
        attempt: (r: Registry) => r.createClient(device('t-2', { roles: [ROLE, SITED] })),
        error: FormatError,
        field: 'labels.site',
      },
      {
        name: 'unknown permission after a known one',
        attempt: (r: Registry) =>
          r.createRole({
            name: parseRoleName('r'),
            permissions: [TELEMETRY, parsePermissionName('nope')],
          }),
        error: FormatError,
        field: 'permissions',
      },
      {
        name: 'duplicate role',
        attempt: (r: Registry) => r.createRole({ name: ROLE, permissions: [SITE] }),
        error: ConflictError,
        field: 'name',
      },
      {
        name: 'duplicate permission at another resource',
        attempt: (r: Registry) =>
          r.createPermission({ name: TELEMETRY, resource: API, scopes: [] }),
        error: ConflictError,
        field: 'name',
      },
      {
        name: 'duplicate resource of another kind',
        attempt: (r: Registry) =>
          r.createResource({ identifier: BROKER, kind: 'http', tokenTtlSeconds: 60 }),
        error: ConflictError,
        field: 'identifier',
      },
      {
        name: 'enrollment with an unknown role',
        attempt: (r: Registry) =>
          r.createEnrollment({
            codeHash: 'h',
            target: { idPattern: '*' },
            roles: [parseRoleName('nope')],
            labels: new Map(),
            uses: 1,
            expiresAt: 2_000_000_000,
          }),
        error: FormatError,
        field: 'roles',
      },
    ])('$name', async ({ attempt, error, field }) => {
      const { registry } = await setup();
      await registry.createClient(device('t-1', { key: KEY }));
      const everything = async () =>
        JSON.stringify([
          await registry.listResources(PAGE),
          await registry.listPermissions(PAGE),
          await registry.listRoles(PAGE),
          await registry.listClients({ kind: 'device' }, PAGE),
          await registry.listEnrollments(PAGE),
        ]);
      const before = await everything();
      const refused = await attempt(registry).catch((caught: unknown) => caught);
      expect(refused).toBeInstanceOf(error);
      expect(refused).toMatchObject({ field });
      expect(await everything()).toBe(before);
    });
  });

  describe(`${name}: rights and keys`, () => {
    test('are the permissions of all roles, each once', async () => {
      const { registry } = await setup();
      const labels = new Map([['site', 'berlin']]);
      await registry.createClient(device('t-1', { roles: [ROLE, SITED], labels }));
      const options = { signingAlg: 'EdDSA', narrowsScope: false, hasLegacyClaims: false };
      expect(await registry.rights(parseClientId('t-1'))).toEqual({
        kind: 'device',
        mayMint: false,
        tokenTtlSeconds: undefined,
        tokensNotBefore: 0,
        limitedToLabel: undefined,
        labels,
        permissions: [
          {
            name: SITE,
            resource: BROKER,
            kind: 'mqtt',
            tokenTtlSeconds: 600,
            ...options,
            scopes: ['pub:sites/{labels.site}/+'],
          },
          {
            name: TELEMETRY,
            resource: BROKER,
            kind: 'mqtt',
            tokenTtlSeconds: 600,
            ...options,
            scopes: ['pub:devices/{client_id}/telemetry/#'],
          },
        ],
      });
    });

    test('a kid selects only among the keys of its own client', async () => {
      const { registry } = await setup();
      const [one, two] = [generateKey().publicKey, generateKey().publicKey];
      await registry.createClient(device('t-1', { key: one }));
      await registry.createClient(device('t-2', { key: two }));
      const [first, second] = [parseClientId('t-1'), parseClientId('t-2')];
      expect((await registry.activeKey(first, one.kid))?.kid).toBe(one.kid);
      expect((await registry.activeKey(first, undefined))?.kid).toBe(one.kid);
      expect(await registry.activeKey(first, two.kid)).toBeUndefined();
      expect((await registry.activeKey(second, two.kid))?.kid).toBe(two.kid);
      expect(await registry.activeKey(second, "' OR 1=1 --")).toBeUndefined();
    });
  });

  describe(`${name}: spending`, () => {
    test('an assertion is spent by one of many that come at once', async () => {
      const { registry, clock, reopen } = await setup();
      await fc.assert(
        fc.asyncProperty(
          fc.array(
            fc.record({ client: fc.constantFrom('a', 'b'), jti: fc.constantFrom('x', 'y', 'ax') }),
            { maxLength: 30 },
          ),
          fc.uuid(),
          async (attempts, run) => {
            const results = await Promise.all(
              attempts.map(async ({ client, jti }) => ({
                pair: `${client} ${jti}`,
                isFirst: await registry.spendAssertion({
                  clientId: parseClientId(client),
                  jti: `${jti}${run}`,
                  rememberUntil: clock.now() + 300,
                }),
              })),
            );
            for (const pair of new Set(results.map((result) => result.pair))) {
              const own = results.filter((result) => result.pair === pair);
              expect(own.filter(({ isFirst }) => isFirst)).toHaveLength(1);
            }
          },
        ),
        { numRuns: 30 },
      );
      const spent = { clientId: parseClientId('a'), jti: 'j', rememberUntil: clock.now() + 300 };
      expect(await registry.spendAssertion(spent)).toBe(true);
      expect(await (await reopen()).spendAssertion(spent)).toBe(false);
    });

    test('of many with one assertion, one event is recorded; none for a client not active', async () => {
      const { registry, clock, reopen } = await setup();
      await registry.createClient(device('t-1'));
      await registry.createClient(device('t-2'));
      await registry.setClientStatus(parseClientId('t-2'), 'suspended');
      const spendAndRecord = (id: string, jti: string) => {
        const clientId = parseClientId(id);
        const assertion = { clientId, jti, rememberUntil: clock.now() + 300 };
        const subject = { actor: id, target: id, clientId, jti: undefined, kid: undefined };
        const event = { type: 'token', action: 'issue', outcome: 'ok', ...subject } as const;
        const more = { address: undefined, detail: `for ${jti}` };
        return registry.spendAndRecord(assertion, { ...event, ...more });
      };
      const attempts = [
        ...Array.from({ length: 5 }, () => spendAndRecord('t-1', 'j')),
        spendAndRecord('t-1', 'k'),
        spendAndRecord('t-2', 'j'),
        spendAndRecord('t-3', 'j'),
      ];
      const [first, ...others] = await Promise.all(attempts);
      expect([first, others]).toEqual([true, [false, false, false, false, true, false, false]]);
      const again = await reopen();
      const { items } = await again.listEvents({}, PAGE);
      const issued = items.filter(({ action }) => action === 'issue');
      expect(issued.map(({ detail }) => detail).sort()).toEqual(['for j', 'for k']);
    });

    test('an enrollment is redeemed at most `uses` times, each by another device', async () => {
      const { registry, clock } = await setup();
      const { usesLeft, id } = await registry.createEnrollment({
        codeHash: 'hash',
        target: { idPattern: 't-*' },
        roles: [ROLE],
        labels: new Map(),
        uses: 4,
        expiresAt: clock.now() + 60,
      });
      expect(usesLeft).toBe(4);
      const outcomes = await Promise.allSettled(
        Array.from({ length: 20 }, (_, i) =>
          registry.redeem({
            codeHash: 'hash',
            clientId: parseClientId(`t-${i}`),
            key: generateKey().publicKey,
          }),
        ),
      );
      expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(4);
      expect(await registry.enrollment(id)).toMatchObject({ usesLeft: 0 });
      expect((await registry.listClients({ kind: 'device' }, PAGE)).items).toHaveLength(4);
    });

    test('a use that cannot bind is not spent', async () => {
      const { registry, clock } = await setup();
      const key = generateKey().publicKey;
      await registry.createClient(device('other', { key }));
      const { id } = await registry.createEnrollment({
        codeHash: 'hash',
        target: { idPattern: '*' },
        roles: [],
        labels: new Map(),
        uses: 1,
        expiresAt: clock.now() + 60,
      });
      const clientId = parseClientId('t-1');
      const refused = registry.redeem({ codeHash: 'hash', clientId, key });
      await expect(refused).rejects.toMatchObject({ error: 'invalid_grant' });
      expect(await registry.enrollment(id)).toMatchObject({ usesLeft: 1 });
      expect(await registry.client(clientId)).toBeUndefined();
    });
  });

  describe(`${name}: signing keys`, () => {
    const signingKey = async (
      kind: 'next' | 'active' | 'retired',
      alg: TokenAlgorithm = 'EdDSA',
    ): Promise<SigningKey> => {
      const { kid, jwk } = (await generateIssuerKey(alg)).publicKey;
      return {
        ...{ kid, alg, jwk, status: kind, createdAt: 1000 },
        activatedAt: kind === 'next' ? undefined : 1000,
        retiredAt: kind === 'retired' ? 2000 : undefined,
        publishedUntil: kind === 'retired' ? 3000 : undefined,
      };
    };

    test('comes back as it was put, in the order of creation', async () => {
      const { registry, reopen } = await setup();
      const old = { ...(await signingKey('retired')), createdAt: 500 };
      const put = [await signingKey('active'), await signingKey('next', 'ES256'), old];
      expect(await registry.changeSigningKeys({ seen: [], put })).toBe(true);
      const keys = await (await reopen()).signingKeys();
      expect(keys[0]).toEqual(old);
      expect(new Set(keys)).toEqual(new Set(put));
    });

    test('a change planned on another state does nothing', async () => {
      const { registry } = await setup();
      const active = await signingKey('active');
      await registry.changeSigningKeys({ seen: [], put: [active] });
      const seen = await registry.signingKeys();
      const change = { put: [await signingKey('next')], remove: [active.kid] };
      expect(await registry.changeSigningKeys({ seen: [], ...change })).toBe(false);
      const older = seen.map((key) => ({ ...key, activatedAt: 999 }));
      expect(await registry.changeSigningKeys({ seen: older, ...change })).toBe(false);
      expect(await registry.signingKeys()).toEqual(seen);
      expect(await registry.changeSigningKeys({ seen, ...change })).toBe(true);
      expect(await registry.signingKeys()).toEqual(change.put);
    });

    test('of one algorithm, one is active and one is next', async () => {
      const { registry } = await setup();
      const put = [await signingKey('active'), await signingKey('active', 'Ed25519')];
      await registry.changeSigningKeys({ seen: [], put });
      const seen = await registry.signingKeys();
      const another = registry.changeSigningKeys({ seen, put: [await signingKey('active')] });
      await expect(another).rejects.toThrow();
      expect(await registry.signingKeys()).toEqual(seen);
    });
  });

  describe(`${name}: revoked tokens`, () => {
    const clientId = parseClientId('t-1');

    test('stay revoked until they expire, however often that is said', async () => {
      const { registry, reopen, clock } = await setup();
      const expiresAt = clock.now() + 60;
      expect(await registry.isTokenRevoked('one')).toBe(false);
      await Promise.all(
        Array.from({ length: 10 }, () => registry.revokeToken({ jti: 'one', clientId, expiresAt })),
      );
      const again = await reopen();
      expect(await again.isTokenRevoked('one')).toBe(true);
      expect(await again.isTokenRevoked('ONE')).toBe(false);
      clock.set(expiresAt);
      await again.revokeToken({ jti: 'two', clientId, expiresAt: expiresAt + 60 });
      expect(await again.isTokenRevoked('one')).toBe(false);
      expect(await again.isTokenRevoked('two')).toBe(true);
    });
  });
}
