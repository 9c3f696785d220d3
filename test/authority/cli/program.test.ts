/** The command line against a real authority over HTTP: results, messages and exit codes. */
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildProgram, dataDirPaths, initDataDir } from '@latchkey/authority';
import {
  exportPrivatePem,
  formatOpenSsh,
  formatPem,
  generateKey,
  parseIssuer,
  systemClock,
} from '@latchkey/shared';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type CliOptions, runCli } from '../../helpers/cli.ts';
import { freePort, temporaryDir } from '../../helpers/processes.ts';
import { dumpRegistry, execSql } from '../../helpers/test-authority.ts';

interface Served {
  readonly dataDir: string;
  readonly issuer: string;
  latchkey(args: readonly string[], options?: CliOptions): ReturnType<typeof runCli>;
  /** Runs a command with `--json` that must succeed. */
  json(...args: readonly string[]): Promise<unknown>;
  stop(): Promise<number>;
}

/** `latchkey init` and `latchkey serve`, in process. */
async function serve(): Promise<Served> {
  const dataDir = join(temporaryDir(), 'authority');
  const issuer = `http://127.0.0.1:${await freePort()}`;
  expect((await runCli(['init', '--data-dir', dataDir, '--issuer', issuer])).exitCode).toBe(0);
  const controller = new AbortController();
  const running = await new Promise<{ ended: ReturnType<typeof runCli> }>((resolve, reject) => {
    const ended = runCli(['serve', '--data-dir', dataDir], {
      signal: controller.signal,
      onStdout: (text) => text.includes('authority.listening') && resolve({ ended }),
    });
    ended.then(({ stderr }) => reject(new Error(stderr)), reject);
  });
  const stop = async () => {
    controller.abort();
    return (await running.ended).exitCode;
  };
  onTestFinished(async () => {
    await stop();
  });
  const latchkey: Served['latchkey'] = (args, options) =>
    runCli(['--data-dir', dataDir, ...args], options);
  return {
    dataDir,
    issuer,
    latchkey,
    json: async (...args) => {
      const { exitCode, stdout, stderr } = await latchkey([...args, '--json']);
      if (exitCode !== 0) throw new Error(stderr);
      return JSON.parse(stdout);
    },
    stop,
  };
}

const BROKER = 'mqtt://localhost:1883';

async function provision({ json }: Served): Promise<void> {
  await json('resource', 'create', BROKER, '--kind', 'mqtt', '--token-ttl', '15m');
  await json(
    ...['permission', 'create', 'telemetry', '--resource', BROKER],
    ...['--scope', 'pub:devices/{client_id}/telemetry/#', '--scope', 'sub:sites/{labels.site}/+'],
  );
  await json('role', 'create', 'thermostat', '--permission', 'telemetry');
}

describe('the nouns', () => {
  test('create, list and show, for machines', async () => {
    const served = await serve();
    await provision(served);
    const key = generateKey();
    const file = join(temporaryDir(), 't-42.pub');
    writeFileSync(file, formatOpenSsh(key.publicKey, 'from the factory'));
    const device = await served.json(
      ...['device', 'create', 't-42', '--public-key', file],
      ...['--role', 'thermostat', '--label', 'site=berlin', '--label', 'owner=a=b'],
    );
    expect(device).toMatchObject({
      client_id: 't-42',
      roles: ['thermostat'],
      labels: { site: 'berlin', owner: 'a=b' },
      keys: [{ kid: key.publicKey.kid }],
    });
    expect(await served.json('device', 'show', 't-42')).toEqual(device);
    expect(await served.json('device', 'list')).toEqual([device]);
    expect(await served.json('resource', 'show', BROKER)).toMatchObject({
      identifier: BROKER,
      token_ttl_seconds: 900,
    });
    expect(await served.json('permission', 'show', 'telemetry')).toMatchObject({
      scopes: ['pub:devices/{client_id}/telemetry/#', 'sub:sites/{labels.site}/+'],
    });
    expect(await served.json('role', 'list')).toMatchObject([
      { name: 'operator' },
      { name: 'thermostat' },
    ]);
  });

  test('show aligned columns to people', async () => {
    const served = await serve();
    await provision(served);
    const empty = await served.latchkey(['device', 'list']);
    expect(empty).toEqual({ exitCode: 0, stdout: '', stderr: 'there is no device yet\n' });
    await served.latchkey(['device', 'create', 't-1', '--label', 'site=berlin']);
    await served.latchkey(['device', 'create', 'a-long-name', '--label', 'site=rio']);
    const { stdout } = await served.latchkey(['device', 'list']);
    expect(stdout.replace(/\S+Z$/gm, 'TIME')).toBe(
      [
        'CLIENT ID    STATUS  ROLES  LABELS       KEYS  CREATED',
        'a-long-name  active  -      site=rio     -     TIME',
        't-1          active  -      site=berlin  -     TIME',
        '',
      ].join('\n'),
    );
    const shown = await served.latchkey(['permission', 'show', 'telemetry']);
    expect(shown.stdout).toContain(
      'scopes    pub:devices/{client_id}/telemetry/# sub:sites/{labels.site}/+\n',
    );
  });

  test('list more items than a page holds', async () => {
    const served = await serve();
    const { latchkey, json, dataDir } = served;
    await latchkey(['resource', 'list']);
    execSql(
      { dataDir },
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1201)
      INSERT INTO client (id, kind, status, created_at) SELECT 'd-' || i, 'device', 'active', 0 FROM n`,
    );
    const devices = (await json('device', 'list')) as { client_id: string }[];
    expect(new Set(devices.map(({ client_id }) => client_id)).size).toBe(1201);
  });

  test('take a public key from stdin in any form, and never a private one', async () => {
    const served = await serve();
    const pem = await served.latchkey(['device', 'create', 'd-1', '--public-key', '-'], {
      stdin: formatPem(generateKey().publicKey),
    });
    expect(pem.exitCode).toBe(0);
    const before = dumpRegistry(served.dataDir);
    const secret = exportPrivatePem(generateKey());
    const refused = await served.latchkey(['device', 'create', 'd-2', '--public-key', '-'], {
      stdin: secret,
    });
    expect(refused).toMatchObject({ exitCode: 2, stdout: '' });
    expect(refused.stderr).toContain('--public-key holds a private key');
    expect(refused.stderr).not.toContain(secret.split('\n')[1]);
    expect(dumpRegistry(served.dataDir)).toBe(before);
  });

  test('print an enrollment code once, alone on stdout', async () => {
    const served = await serve();
    await provision(served);
    const created = await served.latchkey([
      ...['enrollment', 'create', '--client-id', 't-42', '--role', 'thermostat'],
      ...['--label', 'site=berlin', '--expires', '10m'],
    ]);
    expect(created.exitCode).toBe(0);
    expect(created.stdout).toMatch(/^lke_[A-Za-z0-9_-]{22}\n$/);
    expect(created.stderr).toContain('it is shown only now');
    const code = created.stdout.trim();
    expect(created.stderr).not.toContain(code);
    for (const args of [['list'], ['list', '--json'], ['show', '1'], ['show', '1', '--json']]) {
      const { exitCode, stdout } = await served.latchkey(['enrollment', ...args]);
      expect(exitCode).toBe(0);
      expect(stdout).toContain('t-42');
      expect(stdout).not.toContain(code);
    }
    expect(
      await served.json('enrollment', 'create', '--id-pattern', 't-*', '--uses', '7'),
    ).toMatchObject({
      enrollment_code: expect.stringMatching(/^lke_/),
      id: 2,
      id_pattern: 't-*',
      uses: 7,
      expires_at: expect.any(Number),
    });
  });

  test('take the global options before and after the noun, and a key kept elsewhere', async () => {
    const { dataDir, issuer } = await serve();
    const key = join(temporaryDir(), 'key.json');
    writeFileSync(key, readFileSync(dataDirPaths(dataDir).operatorKey), { mode: 0o600 });
    for (const args of [
      ['--data-dir', dataDir, 'role', 'list'],
      ['role', '--data-dir', dataDir, 'list'],
      ['role', 'list', '--data-dir', dataDir],
      ['role', 'list', '--authority', issuer, '--operator-key', key],
      ['--operator-key', key, 'role', 'list'],
    ]) {
      expect(await runCli(args)).toMatchObject({
        exitCode: 0,
        stdout: expect.stringContaining('operator'),
      });
    }
  });
});

describe('a refusal changes nothing and says why:', () => {
  test.each([
    {
      name: 'filter a/#/b',
      args: ['permission', 'create', 'p', '--resource', BROKER, '--scope', 'pub:a/#/b'],
      exitCode: 1,
      says: /^error: scopes\.0 /,
    },
    {
      name: 'label with /',
      args: ['device', 'create', 'd', '--label', 'site=a/b'],
      exitCode: 1,
      says: /^error: labels\.site /,
    },
    {
      name: 'label without =',
      args: ['device', 'create', 'd', '--label', 'site'],
      exitCode: 2,
      says: /^error: --label must look like key=value/,
    },
    {
      name: 'label given twice',
      args: ['device', 'create', 'd', '--label', 'a=1', '--label', 'a=2'],
      exitCode: 2,
      says: /^error: --label a is given twice/,
    },
    {
      name: 'duplicate device',
      args: ['device', 'create', 't-1'],
      exitCode: 1,
      says: /^error: client_id is taken/,
    },
    {
      name: 'unknown role',
      args: ['device', 'create', 'd', '--role', 'nope'],
      exitCode: 1,
      says: /^error: roles name an unknown role: nope/,
    },
    {
      name: 'role without a label that it needs',
      args: ['device', 'create', 'd', '--role', 'thermostat'],
      exitCode: 1,
      says: /^error: labels\.site is missing; role thermostat needs it/,
    },
    {
      name: 'several problems at once',
      args: ['resource', 'create', 'x', '--kind', 'tcp', '--token-ttl', '5s'],
      exitCode: 1,
      says: /^error: the authority refused:\n {2}identifier .*\n {2}kind .*\n {2}token_ttl_seconds /,
    },
    {
      name: 'no such device',
      args: ['device', 'show', 'nope'],
      exitCode: 1,
      says: /^error: there is no such device/,
    },
    {
      name: 'a duration that is none',
      args: ['enrollment', 'create', '--expires', 'soon'],
      exitCode: 2,
      says: /^error: --expires /,
    },
    {
      name: 'both targets of an enrollment',
      args: ['enrollment', 'create', '--client-id', 'd', '--id-pattern', '*'],
      exitCode: 2,
      says: /^error: option '--client-id/,
    },
    {
      name: 'a missing option',
      args: ['role', 'create', 'r'],
      exitCode: 2,
      says: /^error: required option '--permission/,
    },
    {
      name: 'an unknown option',
      args: ['device', 'list', '--verbose'],
      exitCode: 2,
      says: /^error: unknown option '--verbose'/,
    },
    { name: 'an unknown verb', args: ['device', 'frob'], exitCode: 2, says: /unknown command/ },
    {
      name: 'two ways to name the authority',
      args: ['device', 'list', '--authority', 'https://id.example'],
      exitCode: 2,
      says: /^error: give either --data-dir/,
    },
  ])('$name', async ({ args, exitCode, says }) => {
    const served = await serve();
    await provision(served);
    await served.json('device', 'create', 't-1');
    const before = dumpRegistry(served.dataDir);
    const outcome = await served.latchkey(args);
    expect(outcome.stderr).toMatch(says);
    expect(outcome).toMatchObject({ exitCode, stdout: '' });
    expect(dumpRegistry(served.dataDir)).toBe(before);
  });

  test('an operator key is never used for another authority than its own', async () => {
    const { dataDir } = await serve();
    const key = dataDirPaths(dataDir).operatorKey;
    const args = ['device', 'list', '--authority', 'http://127.0.0.1:9', '--operator-key', key];
    const { exitCode, stderr } = await runCli(args);
    expect(exitCode).toBe(2);
    expect(stderr).toContain('--authority: the operator key is for http://127.0.0.1:');
  });

  test('an operator key that others can read is refused', async () => {
    const served = await serve();
    chmodSync(dataDirPaths(served.dataDir).operatorKey, 0o640);
    const { exitCode, stderr } = await served.latchkey(['device', 'list']);
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/can be read by others \(mode 0640\); run: chmod 600/);
  });

  test('which authority must be said', async () => {
    const { exitCode, stderr } = await runCli(['device', 'list']);
    expect(exitCode).toBe(2);
    expect(stderr).toContain('give --data-dir, or --authority with --operator-key');
  });
});

describe('an authority that is not there', () => {
  test('exits with 3 and a hint', async () => {
    const served = await serve();
    expect(await served.stop()).toBe(0);
    const { exitCode, stdout, stderr } = await served.latchkey(['device', 'list']);
    expect({ exitCode, stdout }).toEqual({ exitCode: 3, stdout: '' });
    expect(stderr).toContain('is "latchkey serve" running?');
  });
});

describe('serve', () => {
  test('names --listen when the port is taken, and exits with 1', async () => {
    const served = await serve();
    const { exitCode, stderr } = await served.latchkey(['serve']);
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/is in use by another program: choose another with --listen/);
  });

  test.each(['0.0.0.0:9400', '192.0.2.1:9400', 'id.example:9400', '[::]:9400'])(
    'refuses to listen on %s, beyond loopback',
    async (listen) => {
      const dataDir = temporaryDir();
      const issuer = parseIssuer('https://id.example');
      await initDataDir({ dataDir, issuer, clock: systemClock });
      const { exitCode, stderr } = await runCli([
        'serve',
        '--data-dir',
        dataDir,
        '--listen',
        listen,
      ]);
      expect(exitCode).toBe(2);
      expect(stderr).toMatch(/--listen is reached from other machines, and there is no TLS/);
    },
  );

  test.each(['9400', 'localhost', '127.0.0.1:70000', ':9400', '127.0.0.1:'])(
    'refuses --listen %s',
    async (listen) => {
      const dataDir = temporaryDir();
      const issuer = parseIssuer('https://id.example');
      await initDataDir({ dataDir, issuer, clock: systemClock });
      const { exitCode, stderr } = await runCli([
        'serve',
        '--data-dir',
        dataDir,
        '--listen',
        listen,
      ]);
      expect(exitCode).toBe(2);
      expect(stderr).toContain('--listen must look like 127.0.0.1:9400');
    },
  );

  test.each([
    { args: ['serve'], says: '--data-dir is required' },
    { args: ['validate'], says: '--data-dir is required' },
    { args: ['serve', '--data-dir', '/nonexistent'], says: 'make one with: latchkey init' },
  ])('$args without a data directory', async ({ args, says }) => {
    const { exitCode, stderr } = await runCli(args);
    expect(exitCode).toBe(2);
    expect(stderr).toContain(says);
  });
});

describe('help', () => {
  type Command = ReturnType<typeof buildProgram>;

  function leaves(command: Command, path: readonly string[] = []): readonly (readonly string[])[] {
    const own = command.commands.filter((child) => child.name() !== 'help');
    return [path, ...own.flatMap((child) => leaves(child, [...path, child.name()]))];
  }

  const io = { stdout: process.stdout, stderr: process.stderr };
  const paths = leaves(buildProgram({ io: io as never, finish: () => undefined }));

  test('knows every command', () => {
    const nouns = ['resource', 'permission', 'role', 'device', 'service', 'enrollment'];
    const known = new Set(paths.map((path) => path.join(' ')));
    const missing = [
      '',
      'init',
      'serve',
      'validate',
      ...nouns.flatMap((noun) => [noun, `${noun} list`, `${noun} show`, `${noun} create`]),
      ...['device', 'service'].flatMap((noun) =>
        ['update', 'suspend', 'resume', 'revoke', 'void-tokens', 'delete'].map(
          (verb) => `${noun} ${verb}`,
        ),
      ),
      ...['resource', 'permission', 'role'].flatMap((noun) => [`${noun} update`, `${noun} delete`]),
      ...['key add', 'key list', 'key remove', 'secret create', 'secret list', 'secret remove'],
      ...['key', 'secret'].flatMap((noun) =>
        ['start', 'finish', 'cancel'].map((verb) => `${noun} rotate ${verb}`),
      ),
      ...[
        'enrollment revoke',
        'token inspect',
        'explain',
        'operator create',
        'feed renew',
        'fleet summary',
      ],
    ].filter((command) => !known.has(command));
    expect(missing).toEqual([]);
  });

  test.each(paths.map((path) => ({ path })))(
    'of latchkey $path has an example',
    async ({ path }) => {
      const { exitCode, stdout, stderr } = await runCli([...path, '--help']);
      expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
      const prefix = ['latchkey', ...path].join(' ');
      expect(stdout).toMatch(/^Usage: latchkey/);
      expect(stdout).toMatch(/\nExamples?:\n {2}\$ latchkey /);
      expect(stdout.slice(stdout.indexOf('Example'))).toContain(`$ ${prefix}`);
    },
  );

  test('the version is that of the package', async () => {
    const { version } = JSON.parse(readFileSync('authority/package.json', 'utf8'));
    expect(await runCli(['--version'])).toEqual({
      exitCode: 0,
      stdout: `${version}\n`,
      stderr: '',
    });
  });

  test.each([[[]], [['device']]])('a command that says too little: %j', async (args) => {
    const { exitCode, stdout, stderr } = await runCli(args);
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
    expect(stderr).toContain('Usage: latchkey');
  });
});
