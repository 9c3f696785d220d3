/**
 * What every implementation of `Registry` must do with the life cycle of clients and the catalog.
 *
 * @module
 */
import { createHash, randomBytes } from 'node:crypto';
import {
  type Condition,
  ConflictError,
  MissingError,
  type NewClient,
  type NewClientSecret,
  OutOfReachError,
  type Registry,
  VersionError,
} from '@latchkey/authority';
import {
  FormatError,
  generateKey,
  type Kid,
  type PublicKey,
  parseClientId,
  parsePermissionName,
  parseResourceId,
  parseRoleName,
} from '@latchkey/shared';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createDrivenClock, type DrivenClock } from './driven-clock.ts';
import type { OpenRegistry } from './registry-contract.ts';

const BROKER = parseResourceId('mqtts://broker.example');
const API = parseResourceId('https://id.example/api');
const [TELEMETRY, SITE, ALL] = ['telemetry', 'site', 'all'].map((n) => parsePermissionName(n));
const [ROLE, SITED, ADMIN] = ['thermostat', 'sited', 'admin'].map((n) => parseRoleName(n));
const id = (text: string) => parseClientId(text);
const T1 = id('t-1');
const PAGE = { limit: 100, after: undefined };
const BERLIN = { key: 'site', value: 'berlin' };

const client = (text: string, more: Partial<NewClient> = {}): NewClient => ({
  ...{ id: id(text), kind: 'device', roles: [], labels: new Map(), key: undefined },
  ...more,
});

const newSecret = (
  secret: string = randomBytes(8).toString('hex'),
  more: Partial<NewClientSecret> = {},
): NewClientSecret => ({
  hash: createHash('sha256').update(secret).digest(),
  ...{ prefix: 'lks_abcd', lastFour: 'wxyz', label: '', expiresAt: undefined },
  ...more,
});

async function fill(registry: Registry): Promise<void> {
  await registry.createResource({ identifier: BROKER, kind: 'mqtt', tokenTtlSeconds: 600 });
  await registry.createResource({ identifier: API, kind: 'http', tokenTtlSeconds: 60 });
  const telemetry = ['pub:devices/{client_id}/telemetry/#'];
  await registry.createPermission({ name: TELEMETRY!, resource: BROKER, scopes: telemetry });
  const site = ['pub:sites/{labels.site}/+'];
  await registry.createPermission({ name: SITE!, resource: BROKER, scopes: site });
  await registry.createPermission({ name: ALL!, resource: API, scopes: [] });
  await registry.createRole({ name: ROLE!, permissions: [TELEMETRY!] });
  await registry.createRole({ name: SITED!, permissions: [SITE!] });
  await registry.createRole({ name: ADMIN!, permissions: [ALL!] });
}

const caught = (work: Promise<unknown>) => work.then(() => undefined).catch((e: unknown) => e);

/** Declares the suite; `open` makes an empty registry that ends with the test. */
export function describeLifecycle(
  name: string,
  open: (clock: DrivenClock) => Promise<OpenRegistry>,
): void {
  const setup = async () => {
    const clock = createDrivenClock();
    const opened = await open(clock);
    await fill(opened.registry);
    return { ...opened, clock };
  };

  describe(`${name}: the catalog`, () => {
    test('options of a resource reach the rights of its clients', async () => {
      const { registry } = await setup();
      await registry.createClient(client('t-1', { roles: [ROLE!] }));
      const options = { signingAlg: 'ES256', narrowsScope: true, hasLegacyClaims: true } as const;
      const patched = await registry.patchResource(BROKER, { ...options, tokenTtlSeconds: 90 });
      expect(patched).toMatchObject({ ...options, tokenTtlSeconds: 90, version: 2 });
      const rights = await registry.rights(T1);
      expect(rights?.permissions).toMatchObject([{ ...options, tokenTtlSeconds: 90 }]);
    });

    test.each([
      {
        name: 'a resource that a permission is for',
        attempt: (r: Registry) => r.deleteResource(BROKER),
        problem: /permission site$/,
      },
      {
        name: 'a permission that a role holds',
        attempt: (r: Registry) => r.deletePermission(TELEMETRY!),
        problem: /role thermostat$/,
      },
      {
        name: 'a role of one client',
        attempt: (r: Registry) => r.deleteRole(ADMIN!),
        problem: /client t-3$/,
      },
      {
        name: 'a role of two clients',
        attempt: (r: Registry) => r.deleteRole(ROLE!),
        problem: /2 clients, such as client t-1$/,
      },
      {
        name: 'a role that a live code gives',
        attempt: (r: Registry) => r.deleteRole(SITED!),
        problem: /enrollment 1$/,
      },
    ])('$name is not deleted, and the refusal names who uses it', async ({ attempt, problem }) => {
      const { registry, clock } = await setup();
      await registry.createClient(client('t-1', { roles: [ROLE!] }));
      await registry.createClient(client('t-2', { roles: [ROLE!] }));
      await registry.createClient(client('t-3', { roles: [ADMIN!] }));
      await registry.createEnrollment({
        ...{ codeHash: 'h', target: { idPattern: '*' }, roles: [SITED!], uses: 1 },
        ...{ labels: new Map([['site', 'x']]), expiresAt: clock.now() + 60 },
      });
      const refused = await caught(attempt(registry));
      expect(refused).toBeInstanceOf(ConflictError);
      expect((refused as ConflictError).problem).toMatch(problem);
    });

    test('what nobody uses is deleted, also a role that only dead codes give', async () => {
      const { registry, clock } = await setup();
      for (const codeHash of ['expired', 'revoked']) {
        await registry.createEnrollment({
          ...{ codeHash, target: { idPattern: '*' }, roles: [ROLE!], labels: new Map() },
          ...{ uses: 1, expiresAt: clock.now() + (codeHash === 'expired' ? 1 : 60) },
        });
      }
      await registry.revokeEnrollment(2);
      await expect(registry.deleteRole(ROLE!)).rejects.toBeInstanceOf(ConflictError);
      clock.set(clock.now() + 1);
      await registry.deleteRole(ROLE!);
      await registry.deletePermission(TELEMETRY!);
      expect(await registry.role(ROLE!)).toBeUndefined();
      expect(await registry.permission(TELEMETRY!)).toBeUndefined();
      await expect(registry.deleteRole(ROLE!)).rejects.toBeInstanceOf(MissingError);
    });

    test.each([
      {
        name: 'new scopes',
        field: 'scopes',
        attempt: (r: Registry) => r.patchPermission(TELEMETRY!, { scopes: ['pub:{labels.site}'] }),
      },
      {
        name: 'another permission',
        field: 'permissions',
        attempt: (r: Registry) => r.patchRole(ROLE!, { permissions: [TELEMETRY!, SITE!] }),
      },
    ])(
      '$name that clients lack a label for: refused with the count and one of them',
      async ({ attempt, field }) => {
        const { registry } = await setup();
        const labels = new Map([['site', 'berlin']]);
        await registry.createClient(client('t-0', { roles: [ROLE!], labels }));
        await registry.createClient(client('t-1', { roles: [ROLE!] }));
        await registry.createClient(client('t-2', { roles: [ROLE!] }));
        const before = [await registry.permission(TELEMETRY!), await registry.role(ROLE!)];
        const refused = await caught(attempt(registry));
        expect(refused).toMatchObject({
          name: 'ConflictError',
          field,
          problem: expect.stringMatching(/thermostat .* site, which 2 clients lack, such as t-1$/),
        });
        expect([await registry.permission(TELEMETRY!), await registry.role(ROLE!)]).toEqual(before);
        await registry.setClientStatus(id('t-1'), 'revoked');
        await registry.patchClient(id('t-2'), { labels });
        await attempt(registry);
      },
    );

    test.each([
      { name: 'resource', attempt: (r: Registry, c: Condition) => r.patchResource(BROKER, {}, c) },
      {
        name: 'permission',
        attempt: (r: Registry, c: Condition) => r.deletePermission(TELEMETRY!, c),
      },
      { name: 'role', attempt: (r: Registry, c: Condition) => r.deleteRole(ROLE!, c) },
      { name: 'client', attempt: (r: Registry, c: Condition) => r.patchClient(T1, {}, c) },
      {
        name: 'client status',
        attempt: (r: Registry, c: Condition) => r.setClientStatus(T1, 'revoked', c),
      },
      { name: 'client deletion', attempt: (r: Registry, c: Condition) => r.deleteClient(T1, c) },
      { name: 'enrollment', attempt: (r: Registry, c: Condition) => r.revokeEnrollment(1, c) },
    ])('a change of another version is refused: $name', async ({ attempt }) => {
      const { registry, clock } = await setup();
      await registry.createClient(client('t-1'));
      await registry.createEnrollment({
        ...{ codeHash: 'h', target: { idPattern: '*' }, roles: [], labels: new Map(), uses: 1 },
        expiresAt: clock.now() + 60,
      });
      const refused = await caught(attempt(registry, { versions: [2, 3] }));
      if (refused === undefined) throw new Error('not refused');
      if (!(refused instanceof ConflictError)) expect(refused).toBeInstanceOf(VersionError);
      await expect(attempt(registry, { versions: [] })).rejects.toBeInstanceOf(VersionError);
    });
  });

  describe(`${name}: roles and labels of a client`, () => {
    test('a label that a role needs is not removed; the refusal names both', async () => {
      const { registry } = await setup();
      const labels = new Map([['site', 'berlin']]);
      await registry.createClient(client('t-1', { roles: [SITED!], labels }));
      const refused = await caught(registry.patchClient(T1, { labels: new Map([['site', null]]) }));
      expect(refused).toBeInstanceOf(FormatError);
      expect(refused).toMatchObject({
        field: 'labels.site',
        problem: expect.stringContaining('role sited'),
      });
      const both = { labels: new Map([['site', null]]), roles: [] };
      expect(await registry.patchClient(T1, both)).toMatchObject({ roles: [], labels: new Map() });
    });

    test('a role that needs a missing label is not assigned, and with it it is', async () => {
      const { registry } = await setup();
      await registry.createClient(client('t-1', { roles: [ROLE!] }));
      const roles = [ROLE!, SITED!];
      await expect(registry.patchClient(T1, { roles })).rejects.toMatchObject({
        field: 'labels.site',
      });
      expect(await registry.client(T1)).toMatchObject({ roles: [ROLE!], version: 1 });
      const labels = new Map([['site', 'rio']]);
      expect((await registry.patchClient(T1, { roles, labels })).roles).toEqual([SITED!, ROLE!]);
    });

    test('labels are merged and limits taken away by null', async () => {
      const { registry } = await setup();
      const labels = new Map(Object.entries({ a: '1', b: '2' }));
      const settings = { mayMint: true, tokenTtlSeconds: 60, limitedToLabel: BERLIN };
      await registry.createClient(client('t-1', { labels, ...settings }));
      const patch = { labels: new Map(Object.entries({ b: null, c: '3' })), tokenTtlSeconds: null };
      expect(await registry.patchClient(T1, { ...patch, limitedToLabel: null })).toMatchObject({
        labels: new Map(Object.entries({ a: '1', c: '3' })),
        ...{ mayMint: true, tokenTtlSeconds: undefined, limitedToLabel: undefined },
      });
    });

    test('what is void stays void', async () => {
      const { registry } = await setup();
      await registry.createClient(client('t-1'));
      await registry.patchClient(T1, { tokensNotBefore: 500 });
      await registry.patchClient(T1, { tokensNotBefore: 400 });
      expect((await registry.rights(T1))?.tokensNotBefore).toBe(500);
    });
  });

  describe(`${name}: how clients end`, () => {
    test('suspended and resumed', async () => {
      const { registry } = await setup();
      const key = generateKey().publicKey;
      await registry.createClient(client('t-1', { key }));
      await registry.setClientStatus(T1, 'suspended');
      expect(await registry.rights(T1)).toBeUndefined();
      expect(await registry.activeKey(T1, key.kid)).toBeUndefined();
      await registry.setClientStatus(T1, 'active');
      expect((await registry.activeKey(T1, key.kid))?.kid).toBe(key.kid);
    });

    test.each([
      { name: 'resume', attempt: (r: Registry) => r.setClientStatus(T1, 'active') },
      { name: 'suspend', attempt: (r: Registry) => r.setClientStatus(T1, 'suspended') },
      { name: 'patch', attempt: (r: Registry) => r.patchClient(T1, { mayMint: true }) },
      {
        name: 'add a key',
        attempt: (r: Registry) => r.addClientKey(T1, { key: generateKey().publicKey }),
      },
      { name: 'add a secret', attempt: (r: Registry) => r.addClientSecret(T1, newSecret()) },
    ])('after revocation nothing can be done to it: $name', async ({ attempt }) => {
      const { registry, clock } = await setup();
      await registry.createClient(client('t-1', { kind: 'service' }));
      await registry.addClientSecret(T1, newSecret('s'));
      expect(await registry.verifySecret(T1, 's')).toBe(true);
      const revoked = await registry.setClientStatus(T1, 'revoked');
      expect(revoked).toMatchObject({ status: 'revoked', tokensNotBefore: clock.now() });
      expect(await registry.verifySecret(T1, 's')).toBe(false);
      await expect(attempt(registry)).rejects.toMatchObject({ field: 'status' });
      expect(await registry.setClientStatus(T1, 'revoked')).toEqual(revoked);
    });

    test('a deleted id is taken, also for enrollment, until it is freed; its keys for ever', async () => {
      const { registry, clock } = await setup();
      const key = generateKey().publicKey;
      await registry.createClient(client('t-1', { key, roles: [ROLE!] }));
      await registry.createEnrollment({
        ...{ codeHash: 'all', target: { idPattern: '*' }, roles: [], labels: new Map(), uses: 9 },
        expiresAt: clock.now() + 60,
      });
      await registry.createEnrollment({
        ...{ codeHash: 'own', target: { clientId: T1 }, roles: [], labels: new Map(), uses: 1 },
        expiresAt: clock.now() + 60,
      });
      await registry.deleteClient(T1);
      expect(await registry.client(T1)).toBeUndefined();
      const again = client('t-1', { key: generateKey().publicKey });
      await expect(registry.createClient(again)).rejects.toMatchObject({ field: 'client_id' });
      const redeem = (codeHash: string, clientId = T1, by: PublicKey = generateKey().publicKey) =>
        registry.redeem({ codeHash, clientId, key: by });
      await expect(redeem('all')).rejects.toMatchObject({ error: 'invalid_grant' });
      await registry.freeClientId(T1);
      await expect(registry.freeClientId(T1)).rejects.toBeInstanceOf(MissingError);
      await expect(redeem('own')).rejects.toMatchObject({ error: 'invalid_grant' });
      await expect(redeem('all', T1, key)).rejects.toMatchObject({ error: 'invalid_grant' });
      const created = await registry.createClient(again);
      expect(created).toMatchObject({ roles: [], tokensNotBefore: clock.now() + 1 });
      expect(created.version).toBeGreaterThan(1);
    });
  });

  describe(`${name}: keys`, () => {
    test('are usable from not-before to expiry, both seconds exactly', async () => {
      const { registry, clock } = await setup();
      await registry.createClient(client('t-1'));
      const { kid, ...rest } = generateKey().publicKey;
      const times = { notBefore: clock.now() + 10, expiresAt: clock.now() + 20 };
      const { keys } = await registry.addClientKey(T1, {
        ...{ key: { kid, ...rest }, label: 'spare' },
        ...times,
      });
      expect(keys).toMatchObject([{ kid, label: 'spare', ...times }]);
      const usable: boolean[] = [];
      for (const at of [9, 10, 19, 20]) {
        clock.set(times.notBefore - 10 + at);
        usable.push((await registry.activeKey(T1, kid)) !== undefined);
      }
      expect(usable).toEqual([false, true, true, false]);
    });

    test('a key that was removed comes back under its own client only', async () => {
      const { registry } = await setup();
      const [one, two] = [generateKey().publicKey, generateKey().publicKey];
      await registry.createClient(client('t-1', { key: one }));
      await registry.createClient(client('t-2', { key: two }));
      await registry.addClientKey(T1, { key: generateKey().publicKey });
      await registry.removeClientKey(T1, one.kid);
      const elsewhere = registry.addClientKey(id('t-2'), { key: one });
      await expect(elsewhere).rejects.toMatchObject({ field: 'public_key' });
      await registry.addClientKey(T1, { key: one });
      await expect(registry.removeClientKey(T1, two.kid)).rejects.toBeInstanceOf(MissingError);
    });

    test('the last one goes only by force, and a seventeenth does not come', async () => {
      const { registry } = await setup();
      const key = generateKey().publicKey;
      await registry.createClient(client('t-1', { key }));
      await expect(registry.removeClientKey(T1, key.kid)).rejects.toMatchObject({ field: 'kid' });
      const { keys } = await registry.removeClientKey(T1, key.kid, { isForced: true });
      expect(keys).toEqual([]);
      for (let i = 0; i < 16; i += 1) {
        await registry.addClientKey(T1, { key: generateKey().publicKey });
      }
      const more = registry.addClientKey(T1, { key: generateKey().publicKey });
      await expect(more).rejects.toMatchObject({ field: 'keys' });
    });

    test.each(['finish', 'cancel'] as const)(
      'a rotation: both are good, then %s',
      async (ending) => {
        const { registry } = await setup();
        const [old, added] = [generateKey().publicKey, generateKey().publicKey];
        await registry.createClient(client('t-1', { key: old }));
        const started = await registry.startKeyRotation(T1, { key: added });
        expect(started.keyRotation).toMatchObject({ old: old.kid, new: added.kid });
        for (const { kid } of [old, added]) {
          expect((await registry.activeKey(T1, kid))?.kid).toBe(kid);
        }
        const key = generateKey().publicKey;
        const second = registry.startKeyRotation(T1, { key, oldKid: old.kid });
        await expect(second).rejects.toMatchObject({ field: 'rotation' });
        for (const { kid } of [old, added]) {
          const removal = registry.removeClientKey(T1, kid, { isForced: true });
          await expect(removal).rejects.toMatchObject({ field: 'kid' });
        }
        const ended = await registry.endKeyRotation(T1, ending);
        const left = ending === 'finish' ? added : old;
        expect(ended).toMatchObject({ keys: [{ kid: left.kid }], keyRotation: undefined });
        await expect(registry.endKeyRotation(T1, ending)).rejects.toMatchObject({
          field: 'rotation',
        });
      },
    );

    test('a rotation says which key it replaces when there is not exactly one', async () => {
      const { registry } = await setup();
      await registry.createClient(client('t-1'));
      const start = (oldKid?: Kid) =>
        registry.startKeyRotation(T1, { key: generateKey().publicKey, oldKid });
      await expect(start()).rejects.toMatchObject({ field: 'keys' });
      const [one, two] = [generateKey().publicKey, generateKey().publicKey];
      await registry.addClientKey(T1, { key: one });
      await registry.addClientKey(T1, { key: two });
      await expect(start()).rejects.toMatchObject({ field: 'keys' });
      await expect(start(generateKey().publicKey.kid)).rejects.toBeInstanceOf(MissingError);
      expect((await start(two.kid)).keyRotation?.old).toBe(two.kid);
    });
  });

  describe(`${name}: secrets`, () => {
    const service = async () => {
      const opened = await setup();
      await opened.registry.createClient(client('s-1', { kind: 'service' }));
      return { ...opened, s1: id('s-1') };
    };

    test('are two at once, good until they expire, and of no other client', async () => {
      const { registry, clock, s1 } = await service();
      await registry.createClient(client('s-2', { kind: 'service' }));
      await registry.addClientSecret(s1, newSecret('one'));
      const expiresAt = clock.now() + 10;
      await registry.addClientSecret(s1, newSecret('two', { expiresAt }));
      const third = registry.addClientSecret(s1, newSecret('three'));
      await expect(third).rejects.toMatchObject({ field: 'secrets' });
      const good = async () =>
        Promise.all(['one', 'two', 'three', ''].map((s) => registry.verifySecret(s1, s)));
      expect(await good()).toEqual([true, true, false, false]);
      expect(await registry.verifySecret(id('s-2'), 'one')).toBe(false);
      expect(await registry.verifySecret(id('nope'), 'one')).toBe(false);
      clock.set(expiresAt - 1);
      expect(await good()).toEqual([true, true, false, false]);
      clock.set(expiresAt);
      expect(await good()).toEqual([true, false, false, false]);
      // What has expired makes room.
      await registry.addClientSecret(s1, newSecret('three'));
      expect(await good()).toEqual([true, false, true, false]);
      const { secrets } = (await registry.client(s1)) ?? {};
      expect(secrets).toMatchObject([{ prefix: 'lks_abcd', lastFour: 'wxyz' }, {}]);
    });

    test('a device has none', async () => {
      const { registry } = await service();
      await registry.createClient(client('t-1'));
      const added = registry.addClientSecret(T1, newSecret());
      await expect(added).rejects.toMatchObject({ field: 'client_id' });
    });

    test.each(['finish', 'cancel'] as const)(
      'a rotation: both are good, then %s',
      async (ending) => {
        const { registry, s1 } = await service();
        await expect(registry.startSecretRotation(s1, newSecret())).rejects.toMatchObject({
          field: 'secrets',
        });
        await registry.addClientSecret(s1, newSecret('old'));
        const { id: added } = await registry.startSecretRotation(s1, newSecret('new'));
        const good = async () =>
          Promise.all(['old', 'new'].map((secret) => registry.verifySecret(s1, secret)));
        expect(await good()).toEqual([true, true]);
        for (const attempt of [
          registry.removeClientSecret(s1, added),
          registry.addClientSecret(s1, newSecret()),
          registry.startSecretRotation(s1, newSecret()),
        ]) {
          await expect(attempt).rejects.toMatchObject({ field: 'rotation' });
        }
        await registry.endSecretRotation(s1, ending);
        expect(await good()).toEqual([ending === 'cancel', ending === 'finish']);
        const again = registry.endSecretRotation(s1, ending);
        await expect(again).rejects.toMatchObject({ field: 'rotation' });
      },
    );
  });

  describe(`${name}: reach`, () => {
    const limited = { label: BERLIN, exceptRolesAt: API };
    const [berlin, rio] = ['berlin', 'rio'].map((site) => new Map([['site', site]]));

    test('clients and enrollments out of it are as if they did not exist', async () => {
      const { registry, clock } = await setup();
      await registry.createClient(client('in', { labels: berlin! }));
      await registry.createClient(client('out', { labels: rio! }));
      for (const labels of [berlin!, rio!]) {
        await registry.createEnrollment({
          ...{ codeHash: labels.get('site')!, target: { idPattern: '*' }, roles: [], labels },
          ...{ uses: 1, expiresAt: clock.now() + 60 },
        });
      }
      expect(await registry.client(id('in'), limited)).toBeDefined();
      expect(await registry.client(id('out'), limited)).toBeUndefined();
      expect((await registry.listEnrollments(PAGE, limited)).items.map((e) => e.id)).toEqual([1]);
      expect(await registry.enrollment(2, limited)).toBeUndefined();
      const condition = { reach: limited };
      for (const attempt of [
        registry.patchClient(id('out'), {}, condition),
        registry.setClientStatus(id('out'), 'revoked', condition),
        registry.deleteClient(id('out'), condition),
        registry.addClientKey(id('out'), { key: generateKey().publicKey }, condition),
        registry.revokeEnrollment(2, condition),
      ]) {
        await expect(attempt).rejects.toBeInstanceOf(MissingError);
      }
    });

    test('nothing leaves it, enters it unlabelled, or gets a role at the excepted resource', async () => {
      const { registry, clock } = await setup();
      await registry.createClient(client('in', { labels: berlin! }));
      const condition = { reach: limited };
      const enrollment = (more: object) => ({
        ...{ codeHash: 'h', target: { idPattern: '*' }, roles: [], labels: berlin! },
        ...{ uses: 1, expiresAt: clock.now() + 60 },
        ...more,
      });
      for (const attempt of [
        registry.createClient(client('a'), limited),
        registry.createClient(client('a', { labels: rio! }), limited),
        registry.createClient(client('a', { labels: berlin!, roles: [ADMIN!] }), limited),
        registry.patchClient(id('in'), { labels: new Map([['site', null]]) }, condition),
        registry.patchClient(id('in'), { labels: rio! }, condition),
        registry.patchClient(id('in'), { roles: [ADMIN!] }, condition),
        registry.createEnrollment(enrollment({ labels: rio! }), limited),
        registry.createEnrollment(enrollment({ labels: new Map() }), limited),
        registry.createEnrollment(enrollment({ roles: [ADMIN!] }), limited),
      ]) {
        await expect(attempt).rejects.toBeInstanceOf(OutOfReachError);
      }
      expect(await registry.client(id('in'))).toMatchObject({ labels: berlin, version: 1 });
    });

    test('a client with a role at the excepted resource is seen and not touched', async () => {
      const { registry } = await setup();
      const labels = berlin!;
      const key = generateKey().publicKey;
      await registry.createClient(client('op', { kind: 'service', labels, roles: [ADMIN!], key }));
      const op = id('op');
      expect(await registry.client(op, limited)).toBeDefined();
      for (const condition of [{ reach: limited }, { reach: { exceptRolesAt: API } }]) {
        for (const attempt of [
          registry.patchClient(op, { roles: [] }, condition),
          registry.setClientStatus(op, 'suspended', condition),
          registry.deleteClient(op, condition),
          registry.addClientKey(op, { key: generateKey().publicKey }, condition),
          registry.startKeyRotation(op, { key: generateKey().publicKey }, condition),
          registry.addClientSecret(op, newSecret(), condition),
        ]) {
          await expect(attempt).rejects.toBeInstanceOf(OutOfReachError);
        }
      }
    });

    test('a role is not made of, given, or robbed of permissions at the excepted resource', async () => {
      const { registry } = await setup();
      const reach = { exceptRolesAt: API };
      const [admin] = (await registry.role(ADMIN!))!.permissions;
      const made = parseRoleName('made');
      for (const attempt of [
        registry.createRole({ name: made, permissions: [TELEMETRY!, admin!] }, reach),
        registry.patchRole(ROLE!, { permissions: [TELEMETRY!, admin!] }, { reach }),
        registry.patchRole(ADMIN!, { permissions: [TELEMETRY!] }, { reach }),
        registry.deleteRole(ADMIN!, { reach }),
      ]) {
        await expect(attempt).rejects.toBeInstanceOf(OutOfReachError);
      }
      expect(await registry.role(made)).toBeUndefined();
      expect(await registry.role(ADMIN!)).toMatchObject({ permissions: [admin], version: 1 });
      await registry.createRole({ name: made, permissions: [TELEMETRY!] }, reach);
    });

    test('a code made within it cannot take a client that came to be out of it', async () => {
      const { registry, clock } = await setup();
      const make = (codeHash: string, clientId: string) =>
        registry.createEnrollment(
          {
            ...{ codeHash, target: { clientId: id(clientId) }, roles: [], labels: berlin! },
            ...{ uses: 1, expiresAt: clock.now() + 60 },
          },
          limited,
        );
      await make('a', 'late');
      await make('b', 'admin');
      await registry.createClient(client('late', { labels: rio! }));
      await registry.createClient(client('admin', { labels: berlin!, roles: [ADMIN!] }));
      for (const [codeHash, clientId] of Object.entries({ a: 'late', b: 'admin' })) {
        const key = generateKey().publicKey;
        const redeeming = registry.redeem({ codeHash, clientId: id(clientId), key });
        await expect(redeeming).rejects.toMatchObject({ error: 'invalid_grant' });
      }
      await expect(make('c', 'late')).rejects.toBeInstanceOf(OutOfReachError);
      expect(await registry.client(id('late'))).toMatchObject({ labels: rio, keys: [] });
    });
  });

  describe(`${name}: lists by filter`, () => {
    test('hold what all filters allow, in pages, as a plain search would find it', async () => {
      const { registry } = await setup();
      const word = fc.constantFrom('a', 'b');
      const someClient = fc.record({
        kind: fc.constantFrom('device' as const, 'service' as const),
        status: fc.constantFrom('active' as const, 'suspended' as const, 'revoked' as const),
        site: fc.option(word),
        floor: fc.option(word),
        hasRole: fc.boolean(),
      });
      const clients = fc.sample(someClient, { numRuns: 40, seed: 1 });
      const labelsOf = ({ site, floor }: (typeof clients)[number]) =>
        new Map(
          Object.entries({ site, floor }).filter(([, v]) => v !== null) as [string, string][],
        );
      const known = await Promise.all(
        clients.map(async (one, i) => {
          const text = `${i % 2 === 0 ? 'd' : 'e'}-${String(i).padStart(2, '0')}`;
          const roles = one.hasRole ? [ROLE!] : [];
          const labels = labelsOf(one);
          await registry.createClient(client(text, { kind: one.kind, roles, labels }));
          await registry.setClientStatus(id(text), one.status);
          return { ...one, text, labels };
        }),
      );
      const filter = fc.record({
        kind: fc.option(fc.constantFrom('device' as const, 'service' as const), { nil: undefined }),
        status: fc.option(fc.constantFrom('active' as const, 'suspended' as const), {
          nil: undefined,
        }),
        role: fc.option(fc.constant(ROLE!), { nil: undefined }),
        labels: fc.uniqueArray(fc.record({ key: fc.constantFrom('site', 'floor'), value: word }), {
          maxLength: 2,
          selector: ({ key }) => key,
        }),
        idPrefix: fc.option(fc.constantFrom('d', 'd-0', 'x'), { nil: undefined }),
      });
      await fc.assert(
        fc.asyncProperty(filter, fc.integer({ min: 1, max: 41 }), async (asked, limit) => {
          const expected = known
            .filter(
              (one) =>
                (asked.kind === undefined || one.kind === asked.kind) &&
                (asked.status === undefined || one.status === asked.status) &&
                (asked.role === undefined || one.hasRole) &&
                asked.labels.every(({ key, value }) => one.labels.get(key) === value) &&
                one.text.startsWith(asked.idPrefix ?? ''),
            )
            .map(({ text }) => text)
            .sort();
          const seen: string[] = [];
          let after: string | undefined;
          do {
            const page = await registry.listClients(asked, { limit, after });
            seen.push(...page.items.map((item) => item.id));
            after = page.next;
          } while (after !== undefined);
          expect(seen).toEqual(expected);
        }),
        { numRuns: 200 },
      );
    });
  });

  describe(`${name}: whatever is done`, () => {
    const KEYS = Array.from({ length: 5 }, () => generateKey().publicKey);
    const operation = fc.record({
      client: fc.constantFrom('a', 'b'),
      key: fc.nat({ max: KEYS.length - 1 }),
      verb: fc.constantFrom(
        ...(['create', 'suspend', 'resume', 'revoke', 'delete', 'free', 'patch'] as const),
        ...(['add', 'remove', 'start', 'finish', 'cancel', 'enroll'] as const),
      ),
    });

    test('a revoked client has nothing again, a key has one owner, and versions grow', async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(operation, { maxLength: 40 }), async (operations) => {
          const { registry, clock } = await setup();
          await registry.createEnrollment({
            ...{ codeHash: 'h', target: { idPattern: '*' }, roles: [ROLE!], labels: new Map() },
            ...{ uses: 1000, expiresAt: clock.now() + 1000 },
          });
          const run = ({ client: text, key: i, verb }: (typeof operations)[number]) => {
            const [clientId, key] = [id(text), KEYS[i]!];
            switch (verb) {
              case 'create':
                return registry.createClient(client(text, { key, roles: [ROLE!] }));
              case 'suspend':
                return registry.setClientStatus(clientId, 'suspended');
              case 'resume':
                return registry.setClientStatus(clientId, 'active');
              case 'revoke':
                return registry.setClientStatus(clientId, 'revoked');
              case 'delete':
                return registry.deleteClient(clientId);
              case 'free':
                return registry.freeClientId(clientId);
              case 'patch':
                return registry.patchClient(clientId, { mayMint: true });
              case 'add':
                return registry.addClientKey(clientId, { key });
              case 'remove':
                return registry.removeClientKey(clientId, key.kid, { isForced: true });
              case 'start':
                return registry.startKeyRotation(clientId, { key });
              case 'enroll':
                return registry.redeem({ codeHash: 'h', clientId, key });
              case 'finish':
              case 'cancel':
                return registry.endKeyRotation(clientId, verb);
            }
          };
          const owners = new Map<string, string>();
          const versions = new Map<string, number>();
          const revoked = new Set<string>();
          for (const one of operations) {
            const isRefused = (await caught(run(one))) !== undefined;
            if (!isRefused && one.verb === 'delete') revoked.delete(one.client);
            if (!isRefused && one.verb === 'revoke') revoked.add(one.client);
            for (const text of ['a', 'b']) {
              const now = await registry.client(id(text));
              if (revoked.has(text)) {
                expect(now?.status).toBe('revoked');
                expect(await registry.rights(id(text))).toBeUndefined();
                for (const { kid } of KEYS) {
                  expect(await registry.activeKey(id(text), kid)).toBeUndefined();
                }
              }
              if (now === undefined) continue;
              expect(now.version).toBeGreaterThanOrEqual(versions.get(text) ?? 1);
              if (
                !isRefused &&
                one.client === text &&
                !['suspend', 'resume', 'revoke', 'enroll'].includes(one.verb)
              ) {
                expect(now.version).toBeGreaterThan(versions.get(text) ?? 0);
              }
              versions.set(text, now.version);
              for (const { kid } of now.keys) {
                expect(owners.get(kid) ?? text).toBe(text);
                owners.set(kid, text);
              }
            }
          }
        }),
        { numRuns: 60 },
      );
    });
  });
}
