/** Many clients in one request: each as a whole or not at all, again without a change, and nothing weak. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { createChainCheck, MAX_IMPORT_CLIENTS } from '@latchkey/authority';
import { generateKey, parseClientId, silentLogger } from '@latchkey/shared';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createKeyChecks } from '../../../authority/src/api/key-checks.ts';
import { addOperator } from '../../helpers/operators.ts';
import { temporaryDir } from '../../helpers/processes.ts';
import {
  addDevice,
  addThermostatRole,
  createTestDevice,
  execSql,
  openTestAuthority,
  type TestAuthority,
} from '../../helpers/test-authority.ts';
import weak from '../../vectors/rfc8032-5.1.3-weak-public-keys.json' with { type: 'json' };

interface Result {
  readonly created: number;
  readonly unchanged: number;
  readonly refused: readonly {
    readonly index: number;
    readonly errors: readonly { readonly field: string; readonly message: string }[];
  }[];
}

const keyText = () => generateKey().publicKey.jwk.x;

async function importLines(
  { api }: Pick<TestAuthority, 'api'>,
  lines: readonly unknown[],
  { path = '/devices/import', ...more }: { path?: string; dry_run?: boolean } = {},
): Promise<Result> {
  const { status, body } = await api('POST', path, { lines, ...more });
  expect(status, JSON.stringify(body)).toBe(200);
  return body as Result;
}

const countsOf = ({ created, unchanged, refused }: Result) => [created, unchanged, refused.length];
const faultsOf = ({ refused }: Result) =>
  refused.map(({ index, errors }) => [index, errors.map(({ field }) => field)]);

async function open(): Promise<TestAuthority> {
  const authority = await openTestAuthority();
  await addThermostatRole(authority);
  return authority;
}

describe('a batch', () => {
  test('registers good lines and refuses bad ones, each by its place and field', async () => {
    const authority = await open();
    const [mine, shared] = [keyText(), keyText()];
    await addDevice(authority, 'taken');
    const result = await importLines(authority, [
      { client_id: 't-1', public_key: mine, roles: ['thermostat'], labels: { site: 'berlin' } },
      { client_id: 'no good' },
      { client_id: 't-2', public_key: Buffer.from(weak.mixedOrder[0]!, 'hex').toString('hex') },
      { client_id: 't-3', roles: ['nobody'] },
      { client_id: 't-4', public_key: shared },
      { client_id: 't-5', public_key: shared },
      { client_id: 't-6', color: 'red', roles: 'thermostat' },
      'nothing',
      { client_id: 'operator' },
      { client_id: 'taken', public_key: keyText() },
      { client_id: 't-7', keys: [{ public_key: keyText() }], public_key: keyText() },
      { client_id: 't-8', client_secret: 'x'.repeat(40) },
    ]);
    expect(countsOf(result)).toEqual([2, 0, 10]);
    expect(faultsOf(result)).toEqual([
      [1, ['client_id']],
      [2, ['public_key']],
      [3, ['roles']],
      [5, ['public_key']],
      [6, ['roles', 'color']],
      [7, ['']],
      [8, ['client_id']],
      [9, ['client_id']],
      [10, ['keys']],
      [11, ['client_secret']],
    ]);
    const one = await authority.registry.client(parseClientId('t-1'));
    expect(one).toMatchObject({ status: 'active', roles: ['thermostat'], version: 1 });
    expect(one?.keys.map(({ jwk }) => jwk.x)).toEqual([mine]);
    for (const id of ['t-2', 't-3', 't-5', 't-6', 't-7', 't-8']) {
      expect(await authority.registry.client(parseClientId(id)), id).toBeUndefined();
    }
  });

  test('again changes nothing; a line that says otherwise is refused and changes nothing either', async () => {
    const authority = await open();
    const line = {
      ...{ client_id: 't-1', public_key: keyText(), roles: ['thermostat'] },
      ...{
        labels: { site: 'berlin' },
        may_mint: true,
        token_ttl_seconds: 120,
        status: 'suspended',
      },
    };
    expect(countsOf(await importLines(authority, [line]))).toEqual([1, 0, 0]);
    const before = authority.dump();
    expect(countsOf(await importLines(authority, [line, { client_id: 't-1' }, line]))).toEqual([
      0, 3, 0,
    ]);
    const others = [
      { public_key: keyText() },
      { roles: [] },
      { labels: { site: 'paris' } },
      { labels: {} },
      { may_mint: false },
      { token_ttl_seconds: 121 },
      { status: 'active' },
    ];
    const result = await importLines(
      authority,
      others.map((other) => ({ ...line, ...other })),
    );
    expect(countsOf(result)).toEqual([0, 0, others.length]);
    expect(authority.dump()).toBe(before);
  });

  test('lines with one id take turns: the same again is there already, another is refused', async () => {
    const authority = await open();
    const public_key = keyText();
    const result = await importLines(authority, [
      { client_id: 't-1', roles: ['nobody'] },
      { client_id: 't-1', public_key },
      { client_id: 't-1', public_key },
      { client_id: 't-1', public_key: keyText() },
      { client_id: 't-2', public_key },
    ]);
    expect(countsOf(result)).toEqual([1, 1, 3]);
    expect(faultsOf(result)).toEqual([
      [0, ['roles']],
      [3, ['client_id']],
      [4, ['public_key']],
    ]);
  });

  test('a dry run answers the same and leaves nothing, not even an audit event', async () => {
    const authority = await open();
    const lines = [{ client_id: 't-1', roles: ['thermostat'] }, { client_id: 'no good' }];
    const before = [authority.dump(), await authority.registry.auditState()];
    const dry = await importLines(authority, lines, { dry_run: true });
    // The operator's token is recorded before it.
    expect(authority.dump()).toBe(before[0]);
    const { items } = await authority.registry.listEvents(
      { type: 'management' },
      { limit: 100, after: undefined },
    );
    expect(items.filter(({ action }) => action === 'import')).toEqual([]);
    expect(await importLines(authority, lines)).toEqual(dry);
  });

  test.each([
    { name: 'no line', count: 0, status: 400 },
    { name: 'the most', count: MAX_IMPORT_CLIENTS, status: 200 },
    { name: 'one more', count: MAX_IMPORT_CLIENTS + 1, status: 400 },
  ])('$name: $status', async ({ count, status }) => {
    const { api } = await open();
    const lines = Array.from({ length: count }, (_, i) => ({ client_id: `t-${i}` }));
    expect((await api('POST', '/devices/import', { lines })).status).toBe(status);
  });

  test('a body beyond 1 MiB is refused', async () => {
    const { api } = await open();
    const lines = [{ client_id: 't-1', color: 'x'.repeat(1_048_576) }];
    expect((await api('POST', '/devices/import', { lines })).status).toBe(413);
  });
});

describe('what a line may say', () => {
  test('several keys, with labels and times; a revoked device stays revoked', async () => {
    const authority = await open();
    const keys = [
      { public_key: generateKey().publicKey.jwk, label: 'spare', not_before: 10, expires_at: 20 },
      { public_key: keyText(), not_before: null, expires_at: null },
    ];
    const lines = [
      { client_id: 't-1', keys },
      { client_id: 't-2', public_key: keyText(), roles: ['thermostat'], status: 'revoked' },
    ];
    expect(countsOf(await importLines(authority, lines))).toEqual([2, 0, 0]);
    const one = await authority.registry.client(parseClientId('t-1'));
    expect(
      one?.keys.map(({ label, notBefore, expiresAt }) => [label, notBefore, expiresAt]).sort(),
    ).toEqual([
      ['', undefined, undefined],
      ['spare', 10, 20],
    ]);
    expect(await authority.registry.rights(parseClientId('t-2'))).toBeUndefined();
  });

  test('the same key twice in one line is refused', async () => {
    const authority = await open();
    const public_key = keyText();
    const lines = [{ client_id: 't-1', keys: [{ public_key }, { public_key }] }];
    expect(countsOf(await importLines(authority, lines))).toEqual([0, 0, 1]);
  });

  test('a device that is imported gets a token, and brokers are told of it', async () => {
    const authority = await open();
    const device = createTestDevice(authority, 't-1');
    const { sequence } = await authority.registry.feedMark();
    const public_key = device.key.publicKey.jwk;
    await importLines(authority, [{ client_id: 't-1', public_key, roles: ['thermostat'] }]);
    expect((await authority.token(await device.assertion())).status).toBe(200);
    expect((await authority.registry.feedMark()).sequence).toBeGreaterThan(sequence);
  });

  test('a service brings its secret along, if it is long and random; one secret has one client', async () => {
    const authority = await open();
    const client_secret = 'Zq3vT9xLm2Rk8WcY5bN7pF4hJ6dS1gA0';
    const lines = [
      { client_id: 's-1', client_secret },
      { client_id: 's-2', client_secret },
      { client_id: 's-3', client_secret: client_secret.slice(1) },
      { client_id: 's-4', client_secret: 'ab'.repeat(20) },
    ];
    const result = await importLines(authority, lines, { path: '/services/import' });
    expect(countsOf(result)).toEqual([1, 0, 3]);
    const id = parseClientId('s-1');
    expect(await authority.registry.verifySecret(id, client_secret)).toBe(true);
    expect(await authority.registry.verifySecret(id, `${client_secret}x`)).toBe(false);
    const again = await importLines(authority, lines.slice(0, 1), { path: '/services/import' });
    expect(countsOf(again)).toEqual([0, 1, 0]);
    expect(authority.log.text()).not.toContain(client_secret);
  });

  test('an id that was deleted stays taken until it is freed, and old tokens stay void', async () => {
    const authority = await open();
    const id = parseClientId('t-1');
    await addDevice(authority, 't-1');
    await authority.registry.deleteClient(id);
    expect(faultsOf(await importLines(authority, [{ client_id: 't-1' }]))).toEqual([
      [0, ['client_id']],
    ]);
    await authority.registry.freeClientId(id);
    await importLines(authority, [{ client_id: 't-1' }]);
    const client = await authority.registry.client(id);
    expect(client?.tokensNotBefore).toBe(authority.clock.now() + 1);
    expect(client?.version).toBeGreaterThan(1);
    // Of the one before, only the id is free; its key is not.
    expect((await authority.registry.client(id))?.keys).toEqual([]);
  });
});

test('an operator with a limit registers only within it, and learns nothing of others', async () => {
  const authority = await open();
  await addDevice(authority, 'paris', { labels: { site: 'paris' } });
  const berlin = await addOperator(authority, 'berlin', {
    scopes: ['clients:write'],
    site: 'berlin',
  });
  const lines = [
    { client_id: 't-1', labels: { site: 'berlin' } },
    { client_id: 't-2', labels: { site: 'paris' } },
    { client_id: 't-3' },
    { client_id: 't-4', labels: { site: 'berlin' }, roles: ['operator'] },
    { client_id: 'paris', labels: { site: 'berlin' } },
  ];
  const { status, body } = await berlin.call('POST', '/devices/import', { lines });
  expect([status, countsOf(body as Result)]).toEqual([200, [1, 0, 4]]);
  expect((body as Result).refused.at(-1)).toMatchObject({
    errors: [{ field: 'client_id', message: 'is taken' }],
  });
});

test('every registration is an event of its own, and the chain is whole', async () => {
  const authority = await open();
  await importLines(authority, [{ client_id: 't-1' }, { client_id: 't-2' }, { client_id: '-' }]);
  const page = { limit: 1000, after: undefined };
  const { items } = await authority.registry.listEvents({}, page);
  const events = items.filter(({ target }) => target?.startsWith('/devices'));
  expect(
    events.map(({ actor, action, target, clientId, detail }) => [
      actor,
      action,
      target,
      clientId,
      detail,
    ]),
  ).toEqual([
    ['operator', 'import', '/devices', undefined, '2 registered, 0 there already, 0 refused'],
    ['operator', 'create', '/devices/t-1', 't-1', 'imported'],
    ['operator', 'create', '/devices/t-2', 't-2', 'imported'],
  ]);
  const check = createChainCheck(await authority.registry.auditState());
  for (const item of items) expect(check.add(item)).toBeUndefined();
  expect(check.finish()).toBeUndefined();
});

test('a failure of the storage leaves nothing of the batch', async () => {
  const authority = await open();
  execSql(
    authority,
    `CREATE TRIGGER no_more BEFORE INSERT ON client_key WHEN (SELECT count(*) FROM client_key) > 5
     BEGIN SELECT RAISE(ABORT, 'full'); END`,
  );
  const before = authority.dump();
  const lines = Array.from({ length: 20 }, (_, i) => ({
    client_id: `t-${i}`,
    public_key: keyText(),
  }));
  expect((await authority.api('POST', '/devices/import', { lines })).status).toBe(500);
  expect(authority.dump()).toBe(before);
});

describe('the thread that checks keys', () => {
  test('a thread that ends lets nothing pass, and the next check has another', async () => {
    const dir = temporaryDir();
    const script = join(dir, 'worker.mjs');
    writeFileSync(
      script,
      `import { parentPort } from 'node:worker_threads';
       parentPort.on('message', ({ id, keys }) => {
         if (keys[0] === 1) process.exit(1);
         parentPort.postMessage({ id, isGood: [true] });
       });`,
    );
    const checks = createKeyChecks({ logger: silentLogger, script: pathToFileURL(script) });
    onTestFinished(() => checks.stop());
    const unavailable = { error: 'temporarily_unavailable', status: 503 };
    await expect(checks.check([Buffer.alloc(32, 1)])).rejects.toMatchObject(unavailable);
    expect(await checks.check([Buffer.alloc(32, 2)])).toEqual([true]);
    expect(await checks.check([])).toEqual([]);
  });

  test('takes so many calls at once and no more', async () => {
    const checks = createKeyChecks({ logger: silentLogger });
    onTestFinished(() => checks.stop());
    const good = Buffer.from(keyText(), 'base64url');
    const calls = Array.from({ length: 33 }, () => checks.check([good, Buffer.alloc(32)]));
    const settled = await Promise.allSettled(calls);
    expect(settled.slice(0, 32).map((one) => one.status === 'fulfilled' && one.value)).toEqual(
      Array.from({ length: 32 }, () => [true, false]),
    );
    expect(settled[32]).toMatchObject({ status: 'rejected', reason: { status: 503 } });
  });
});
