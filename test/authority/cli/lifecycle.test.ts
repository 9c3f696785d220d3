/** The commands over the life of clients, keys, secrets and the catalog, against a real authority. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { initDataDir } from '@latchkey/authority';
import {
  exportPrivatePem,
  formatOpenSsh,
  formatPem,
  generateKey,
  parseIssuer,
  systemClock,
} from '@latchkey/shared';
import { describe, expect, test } from 'vitest';
import { type CliOptions, runCli } from '../../helpers/cli.ts';
import { createDrivenClock, type DrivenClock } from '../../helpers/driven-clock.ts';
import { freePort, temporaryDir } from '../../helpers/processes.ts';
import {
  createTestDevice,
  dumpRegistry,
  openTestAuthority,
  type TestAuthority,
} from '../../helpers/test-authority.ts';

interface Live {
  readonly authority: TestAuthority;
  readonly dataDir: string;
  readonly clock: DrivenClock;
  run(args: readonly string[], options?: CliOptions): ReturnType<typeof runCli>;
  /** Runs a command with `--json` that must succeed. */
  json(...args: readonly string[]): Promise<Record<string, unknown>>;
}

const BROKER = 'mqtt://localhost:1883';

/** A thermostat role whose permission needs the label `site`, one that does not, and device t-1. */
async function setup(): Promise<Live> {
  const port = await freePort();
  const dataDir = join(temporaryDir(), 'authority');
  const clock = createDrivenClock(systemClock.now());
  await initDataDir({ dataDir, issuer: parseIssuer(`http://127.0.0.1:${port}`), clock });
  const authority = await openTestAuthority({ dataDir, clock });
  await authority.authority.listen({ host: '127.0.0.1', port });
  const run: Live['run'] = (args, options) =>
    runCli(['--data-dir', dataDir, ...args], { clock, ...options });
  const json: Live['json'] = async (...args) => {
    const { exitCode, stdout, stderr } = await run([...args, '--json']);
    if (exitCode !== 0) throw new Error(stderr);
    return JSON.parse(stdout);
  };
  await json('resource', 'create', BROKER, '--kind', 'mqtt');
  const scope = 'pub:devices/{client_id}/telemetry/#';
  await json('permission', 'create', 'telemetry', '--resource', BROKER, '--scope', scope);
  await json(
    'permission',
    'create',
    'site',
    '--resource',
    BROKER,
    '--scope',
    'sub:{labels.site}/+',
  );
  await json('role', 'create', 'thermostat', '--permission', 'telemetry');
  await json('role', 'create', 'sited', '--permission', 'site');
  await json('device', 'create', 't-1', '--role', 'thermostat');
  return { authority, dataDir, clock, run, json };
}

function keyFile(form: 'openssh' | 'pem' = 'openssh'): {
  readonly file: string;
  readonly kid: string;
} {
  const { publicKey } = generateKey();
  const file = join(temporaryDir(), 'key.pub');
  writeFileSync(file, form === 'pem' ? formatPem(publicKey) : formatOpenSsh(publicKey, 'x'));
  return { file, kid: publicKey.kid };
}

describe('what ends something', () => {
  const ENDINGS = [
    ['device', 'revoke', 't-1'],
    ['device', 'void-tokens', 't-1'],
    ['device', 'delete', 't-1'],
    ['service', 'delete', 'nobody'],
    ['key', 'remove', 't-1', 'x'],
    ['key', 'rotate', 'finish', 't-1'],
    ['key', 'rotate', 'cancel', 't-1'],
    ['secret', 'remove', 'billing', '1'],
    ['secret', 'rotate', 'finish', 'billing'],
    ['secret', 'rotate', 'cancel', 'billing'],
    ['enrollment', 'revoke', '1'],
    ['resource', 'delete', BROKER],
    ['permission', 'delete', 'telemetry'],
    ['role', 'delete', 'thermostat'],
    ['feed', 'renew'],
  ];

  test('needs --yes where nobody can be asked, and does nothing without', async () => {
    const { dataDir, run } = await setup();
    const before = dumpRegistry(dataDir);
    for (const args of ENDINGS) {
      const { exitCode, stdout, stderr } = await run(args);
      expect([args.join(' '), exitCode, stdout]).toEqual([args.join(' '), 2, '']);
      expect(stderr).toContain('give --yes');
    }
    expect(dumpRegistry(dataDir)).toBe(before);
  });

  test.each([
    { answer: 'y\n', exitCode: 0, status: 'revoked' },
    { answer: 'YES\n', exitCode: 0, status: 'revoked' },
    { answer: 'n\n', exitCode: 1, status: 'active' },
    { answer: '\n', exitCode: 1, status: 'active' },
    { answer: 'yess\n', exitCode: 1, status: 'active' },
    { answer: '', exitCode: 1, status: 'active' },
  ])('asks a person: $answer', async ({ answer, exitCode, status }) => {
    const { run, json } = await setup();
    const outcome = await run(['device', 'revoke', 't-1'], { isInteractive: true, stdin: answer });
    expect(outcome.exitCode).toBe(exitCode);
    expect(outcome.stderr).toContain('revoke t-1 for ever? [y/N]');
    expect(await json('device', 'show', 't-1')).toMatchObject({ status });
  });

  test('does it with --yes', async () => {
    const { run, json } = await setup();
    expect(await json('device', 'suspend', 't-1')).toMatchObject({ status: 'suspended' });
    expect(await json('device', 'resume', 't-1')).toMatchObject({ status: 'active' });
    expect(await json('device', 'revoke', 't-1', '--yes')).toMatchObject({ status: 'revoked' });
    const again = await run(['device', 'resume', 't-1']);
    expect([again.exitCode, again.stderr]).toEqual([
      1,
      'error: status is revoked, which is final\n',
    ]);
    const deleted = await run(['device', 'delete', 't-1', '--yes']);
    expect(deleted.stderr).toBe('device t-1 is deleted; its id stays taken\n');
    expect((await run(['device', 'create', 't-1'])).stderr).toContain('until it is freed');
    const freed = await run(['device', 'delete', 't-1', '--yes', '--free-id']);
    expect([freed.exitCode, freed.stderr]).toEqual([0, 'device t-1 is deleted; its id is free\n']);
    expect((await run(['device', 'create', 't-1'])).exitCode).toBe(0);
    expect((await run(['device', 'delete', 'nope', '--yes'])).exitCode).toBe(1);
  });

  test('of one kind does not end a client of the other', async () => {
    const { run, json } = await setup();
    await json('service', 'create', 'billing');
    for (const args of [
      ['device', 'revoke', 'billing', '--yes'],
      ['device', 'delete', 'billing', '--yes'],
      ['service', 'suspend', 't-1'],
    ]) {
      expect((await run(args)).exitCode).toBe(1);
    }
    expect(await json('service', 'show', 'billing')).toMatchObject({ status: 'active' });
  });
});

describe('update', () => {
  test('changes roles, labels and settings of a client', async () => {
    const { run, json } = await setup();
    const update = (...args: readonly string[]) => json('device', 'update', 't-1', ...args);
    const lacking = await run(['device', 'update', 't-1', '--add-role', 'sited']);
    expect(lacking).toMatchObject({ exitCode: 1, stdout: '' });
    expect(lacking.stderr).toBe('error: labels.site is missing; role sited needs it\n');
    expect(
      await update(
        '--label',
        'site=berlin',
        '--add-role',
        'sited',
        '--may-mint',
        '--token-ttl',
        '5m',
      ),
    ).toMatchObject({
      ...{ labels: { site: 'berlin' }, roles: ['sited', 'thermostat'] },
      ...{ may_mint: true, token_ttl_seconds: 300 },
    });
    const needed = await run(['device', 'update', 't-1', '--remove-label', 'site']);
    expect(needed.stderr).toBe('error: labels.site is missing; role sited needs it\n');
    expect(
      await update(
        ...['--remove-label', 'site', '--remove-role', 'sited', '--no-may-mint'],
        ...['--token-ttl', 'none'],
      ),
    ).toMatchObject({
      labels: {},
      roles: ['thermostat'],
      may_mint: false,
      token_ttl_seconds: null,
    });
    for (const args of [
      [],
      ['--remove-role', 'sited'],
      ['--label', 'site'],
      ['--token-ttl', 'x'],
    ]) {
      expect((await run(['device', 'update', 't-1', ...args])).exitCode).toBe(2);
    }
  });

  test('changes the catalog, and delete what nobody uses', async () => {
    const { run, json } = await setup();
    const settings = ['--token-ttl', '2m', '--signing-alg', 'ES256', '--legacy-claims'];
    expect(await json('resource', 'update', BROKER, ...settings, '--narrows-scope')).toMatchObject({
      ...{ token_ttl_seconds: 120, signing_alg: 'ES256' },
      ...{ has_legacy_claims: true, narrows_scope: true },
    });
    expect(await json('resource', 'update', BROKER, '--no-narrows-scope')).toMatchObject({
      ...{ narrows_scope: false, has_legacy_claims: true },
    });
    expect((await run(['resource', 'update', BROKER])).exitCode).toBe(2);
    expect((await run(['resource', 'update', BROKER, '--signing-alg', 'none'])).exitCode).toBe(1);
    const update = ['permission', 'update', 'telemetry', '--scope', 'pub:{labels.site}'];
    expect((await run(update)).stderr).toContain('which the client t-1 lacks');
    expect(await json('role', 'update', 'sited', '--permission', 'telemetry')).toMatchObject({
      permissions: ['telemetry'],
    });
    expect((await run(['role', 'delete', 'thermostat', '--yes'])).stderr).toContain('client t-1');
    const deleted = await run(['role', 'delete', 'sited', '--yes']);
    expect([deleted.exitCode, deleted.stderr]).toEqual([0, 'role sited is deleted\n']);
    expect((await run(['permission', 'delete', 'site', '--yes'])).exitCode).toBe(0);
    expect((await run(['resource', 'delete', BROKER, '--yes'])).stderr).toContain('telemetry');
  });

  test('revokes an enrollment code', async () => {
    const { json } = await setup();
    await json('enrollment', 'create', '--role', 'thermostat');
    const revoked = await json('enrollment', 'revoke', '1', '--yes');
    expect(revoked.revoked_at).toEqual(expect.any(Number));
    expect(await json('enrollment', 'show', '1')).toEqual(revoked);
  });
});

test('lists are filtered', async () => {
  const { run, json } = await setup();
  await json('device', 'create', 'a-1', '--label', 'site=x', '--label', 'floor=1');
  await json('device', 'create', 'a-2', '--label', 'site=x');
  await json('device', 'suspend', 'a-2');
  const ids = async (...args: readonly string[]) =>
    ((await json('device', 'list', ...args)) as unknown as { client_id: string }[]).map(
      (device) => device.client_id,
    );
  expect(await ids('--label', 'site=x')).toEqual(['a-1', 'a-2']);
  expect(await ids('--label', 'site=x', '--label', 'floor=1')).toEqual(['a-1']);
  expect(await ids('--status', 'suspended')).toEqual(['a-2']);
  expect(await ids('--role', 'thermostat')).toEqual(['t-1']);
  expect(await ids('--id-prefix', 'a-')).toEqual(['a-1', 'a-2']);
  expect((await run(['device', 'list', '--label', 'site=y'])).stderr).toBe(
    'there is no such device\n',
  );
  expect((await run(['device', 'list', '--status', 'gone'])).exitCode).toBe(1);
});

describe('key', () => {
  test('a key id that begins with a dash is no option', async () => {
    const { run, json } = await setup();
    const file = join(temporaryDir(), 'dashed.pub');
    const dashed = () => {
      for (;;) {
        const { publicKey } = generateKey();
        if (publicKey.kid.startsWith('-')) return publicKey;
      }
    };
    const [first, second] = [dashed(), dashed()];
    for (const key of [first, second]) {
      writeFileSync(file, formatPem(key));
      await json('key', 'add', 't-1', '--public-key', file);
    }
    const third = keyFile();
    const start = ['key', 'rotate', 'start', 't-1', '--public-key', third.file];
    expect(await json(...start, '--old-kid', first.kid)).toMatchObject({
      key_rotation: { old_kid: first.kid },
    });
    await json('key', 'rotate', 'cancel', 't-1', '--yes');
    await json('key', 'remove', 't-1', second.kid, '--yes');
    expect((await run(['key', 'remove', 't-1', '--yes', '--', second.kid])).exitCode).toBe(1);
    const wrong = await run(['key', 'remove', 't-1', `${first.kid}x`, '--yes']);
    expect(wrong).toMatchObject({ exitCode: 2 });
  });

  test('add, list, rotate and remove', async () => {
    const { clock, run, json } = await setup();
    const [first, second, third] = [keyFile(), keyFile('pem'), keyFile()];
    await json('key', 'add', 't-1', '--public-key', first.file, '--key-label', 'factory');
    const expires = ['--expires', '1d', '--not-before', '1h'];
    await json('key', 'add', 't-1', '--public-key', second.file, ...expires);
    const listed = (await json('key', 'list', 't-1')) as unknown as object[];
    expect(listed).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ kid: first.kid, label: 'factory', expires_at: null }),
        expect.objectContaining({
          ...{ kid: second.kid, not_before: clock.now() + 3600, expires_at: clock.now() + 86_400 },
        }),
      ]),
    );
    const unclear = await run(['key', 'rotate', 'start', 't-1', '--public-key', third.file]);
    expect(unclear.stderr).toBe('error: keys are several: say which one to replace\n');
    const start = ['key', 'rotate', 'start', 't-1', '--public-key', third.file];
    expect(await json(...start, '--old-kid', first.kid)).toMatchObject({
      key_rotation: { old_kid: first.kid, new_kid: third.kid },
    });
    const shown = await run(['device', 'show', 't-1']);
    expect(shown.stdout).toContain(`key ${first.kid} by ${third.kid}`);
    expect(await json('key', 'rotate', 'finish', 't-1', '--yes')).toMatchObject({
      key_rotation: null,
    });
    await json('key', 'remove', 't-1', second.kid, '--yes');
    const last = ['key', 'remove', 't-1', third.kid, '--yes'];
    expect((await run(last)).stderr).toContain('force it');
    expect(await json(...last, '--force')).toMatchObject({ keys: [] });
    expect((await run(['key', 'list', 't-1'])).stderr).toBe('t-1 has no key yet\n');
  });
});

describe('secret', () => {
  test('create prints it once; rotate prints the new one', async () => {
    const { authority, run, json } = await setup();
    await json('service', 'create', 'billing', '--role', 'thermostat');
    const made = await run(['secret', 'create', 'billing', '--expires', '90d']);
    const secret = made.stdout.trimEnd();
    expect(secret).toMatch(/^lks_[A-Za-z0-9_-]{43}$/);
    expect(made.stderr).toContain('it is shown only now');
    const listed = await run(['secret', 'list', 'billing']);
    expect(listed.stdout).toContain(`${secret.slice(0, 8)}…${secret.slice(-4)}`);
    expect(listed.stdout).not.toContain(secret);
    const started = await json('secret', 'rotate', 'start', 'billing');
    const { id } = (await authority.registry.client('billing' as never))!;
    const both = [secret, String(started.client_secret)];
    const good = () => Promise.all(both.map((one) => authority.registry.verifySecret(id, one)));
    expect(await good()).toEqual([true, true]);
    await json('secret', 'rotate', 'finish', 'billing', '--yes');
    expect(await good()).toEqual([false, true]);
    await json('secret', 'remove', 'billing', String(started.id), '--yes');
    expect((await run(['secret', 'list', 'billing'])).stderr).toBe('billing has no secret\n');
    expect((await run(['secret', 'create', 't-1'])).stderr).toContain('is a device');
    expect(authority.log.text()).not.toContain(secret);
  });
});

describe('explain', () => {
  test('tells which role, permission and scope allow, or the smallest grant', async () => {
    const { run } = await setup();
    const topic = 'devices/t-1/telemetry/temp';
    expect(await run(['explain', 't-1', 'publish', topic, '--qos', '1', '--retain'])).toEqual({
      exitCode: 0,
      stderr: '',
      stdout: [
        `allowed: t-1 publish ${topic}`,
        `resource:            ${BROKER}`,
        'scope:               pub:devices/t-1/telemetry/#',
        'permission:          telemetry',
        'role:                thermostat',
        '',
      ].join('\n'),
    });
    const refused = await run(['explain', 't-1', 'subscribe', 'devices/t-1/x', '--qos', '1']);
    expect(refused.exitCode).toBe(1);
    expect(refused.stdout).toMatch(/^refused: .*\nbecause: +no scope/);
    expect(refused.stdout).toContain('smallest grant:      sub;qos=1:devices/{client_id}/x\n');
    expect((await run(['explain', 'nope', 'publish', 'a'])).exitCode).toBe(1);
    expect((await run(['explain', 't-1', 'fly', 'a'])).exitCode).toBe(1);
  });
});

describe('token inspect', () => {
  const withToken = async () => {
    const live = await setup();
    const { file } = keyFile();
    const key = generateKey();
    writeFileSync(file, formatOpenSsh(key.publicKey, 'x'));
    await live.json('key', 'add', 't-1', '--public-key', file);
    const device = createTestDevice(live.authority, 't-1', key);
    const { body } = await live.authority.token(await device.assertion());
    return { ...live, token: (body as { access_token: string }).access_token };
  };

  test('says what a good token allows, and does not print it', async () => {
    const { token, run } = await withToken();
    const { exitCode, stdout } = await run(['token', 'inspect'], { stdin: `${token}\n` });
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^verdict +valid\n/);
    expect(stdout).toContain('client      t-1\n');
    expect(stdout).toContain('pub devices/t-1/telemetry/#');
    expect(stdout).not.toContain(token.split('.')[2]);
    const file = join(temporaryDir(), 'token');
    writeFileSync(file, token);
    const json = await run(['token', 'inspect', '--file', file, '--json']);
    expect(JSON.parse(json.stdout)).toMatchObject({
      ...{ valid: true, reason: 'valid', claims: { client_id: 't-1' }, header: { typ: 'at+jwt' } },
    });
    expect(json.stdout).not.toContain(token);
  });

  test('says why another would be refused, with exit code 1', async () => {
    const { token, run, clock, authority } = await withToken();
    const reasonOf = async (stdin: string, args: readonly string[] = []) => {
      const outcome = await run(['token', 'inspect', '--json', ...args], { stdin });
      return [outcome.exitCode, JSON.parse(outcome.stdout).reason];
    };
    const [header, , signature] = token.split('.');
    const forge = (claims: object) =>
      [header, Buffer.from(JSON.stringify(claims)).toString('base64url'), signature].join('.');
    const { issuer } = authority;
    expect(await reasonOf(forge({ iss: issuer }))).toEqual([1, 'signature']);
    expect(await reasonOf(forge({ iss: 'https://evil.example' }))).toEqual([1, 'issuer']);
    expect(await reasonOf(forge({ iss: `${issuer}/clients/../x` }))).toEqual([1, 'issuer']);
    expect(await reasonOf(forge({ iss: `${issuer}/clients/t-1` }))).toEqual([1, 'key']);
    clock.set(clock.now() + 1000);
    expect(await reasonOf(token)).toEqual([1, 'expired']);
    const offline = await runCli(['token', 'inspect', '--json'], { clock, stdin: token });
    expect([offline.exitCode, JSON.parse(offline.stdout).reason]).toEqual([0, 'not-checked']);
  });

  test.each(['', 'junk', 'a.b.c', 'a.b', `${Buffer.from('[]').toString('base64url')}.e30.x`])(
    'what is no token is a usage error that does not echo it: %j',
    async (stdin) => {
      const { exitCode, stdout, stderr } = await runCli(['token', 'inspect'], { stdin });
      expect([exitCode, stdout]).toEqual([2, '']);
      if (stdin !== '') expect(stderr).not.toContain(stdin);
    },
  );

  test('what a token says does not reach the terminal as commands', async () => {
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const token = [
      part({ alg: '\u001b[2J' }),
      part({ iss: '\u001b]0;x\u0007', jti: 'a\u202eb' }),
      'x',
    ];
    const { stdout } = await runCli(['token', 'inspect'], { stdin: token.join('.') });
    // biome-ignore lint/suspicious/noControlCharactersInRegex: looks for exactly these
    expect(stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/);
  });
});

test('an operator limited to a label works with its own key, and finds only its own', async () => {
  const { authority, run, json } = await setup();
  await json('role', 'create', 'fleet', '--permission', 'clients:write');
  const key = generateKey();
  const file = join(temporaryDir(), 'op.pub');
  writeFileSync(file, formatOpenSsh(key.publicKey, 'op'));
  await json(
    ...['service', 'create', 'berlin', '--public-key', file, '--role', 'fleet'],
    ...['--label', 'site=berlin', '--limit-to-label', 'site=berlin'],
  );
  const operatorKey = join(temporaryDir(), 'op.json');
  const content = {
    ...{ issuer: authority.issuer, client_id: 'berlin', private_key: exportPrivatePem(key) },
  };
  writeFileSync(operatorKey, JSON.stringify(content), { mode: 0o600 });
  const { clock } = authority;
  const as = (...args: readonly string[]) =>
    runCli([...args, '--authority', authority.issuer, '--operator-key', operatorKey], { clock });
  expect((await as('device', 'list')).stderr).toBe('there is no device yet\n');
  expect((await as('device', 'create', 'b-1', '--label', 'site=berlin')).exitCode).toBe(0);
  expect((await as('device', 'show', 't-1')).stderr).toBe('error: there is no such device\n');
  expect((await as('device', 'create', 'b-2')).stderr).toContain(
    'limited to the label site=berlin',
  );
  expect((await as('role', 'list')).stderr).toContain('lacks the scope roles:read');
  expect((await as('service', 'update', 'berlin', '--limit-to-label', 'none')).exitCode).toBe(1);
  expect((await run(['device', 'list', '--label', 'site=berlin'])).stdout).toContain('b-1');
});
