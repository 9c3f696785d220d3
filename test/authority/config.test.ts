/** `authority.toml` and the data directory: read as a whole, all problems listed, nothing changed. */
import { createHash } from 'node:crypto';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import {
  DEFAULT_LIMITS,
  dataDirPaths,
  initDataDir,
  loadConfig,
  openDataDir,
  parseConfig,
} from '@latchkey/authority';
import { ConfigError, parseIssuer, systemClock } from '@latchkey/shared';
import { describe, expect, test } from 'vitest';
import { runCli } from '../helpers/cli.ts';
import { temporaryDir } from '../helpers/processes.ts';
import { execSql } from '../helpers/test-authority.ts';

const clock = systemClock;

async function dataDir(): Promise<string> {
  const dir = temporaryDir();
  await initDataDir({ dataDir: dir, issuer: parseIssuer('https://id.example'), clock });
  return dir;
}

/** Names, modes and contents of all files; a reader of the registry leaves an empty -wal and -shm. */
function snapshot(dir: string): unknown {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter(({ name }) => !/-(wal|shm)$/.test(name))
    .map((entry) => {
      const path = join(entry.parentPath, entry.name);
      const content = entry.isFile() ? readFileSync(path) : '';
      return `${path} ${statSync(path).mode} ${createHash('sha256').update(content).digest('hex')}`;
    })
    .sort();
}

describe('parseConfig', () => {
  test('reads what init writes', async () => {
    expect(loadConfig(await dataDir())).toEqual({
      issuer: 'https://id.example',
      listen: { host: '127.0.0.1', port: 9400 },
      logLevel: 'info',
      signingKeyRotationDays: 90,
      keyEncryptionKeyFile: undefined,
      auditRetentionDays: 400,
      trustedProxies: [],
      limits: DEFAULT_LIMITS,
      tls: undefined,
    });
  });

  test('has defaults for all but the issuer', () => {
    expect(parseConfig('issuer = "https://id.example"', 'x')).toEqual({
      issuer: 'https://id.example',
      listen: { host: '127.0.0.1', port: 9400 },
      logLevel: 'info',
      signingKeyRotationDays: 90,
      keyEncryptionKeyFile: undefined,
      auditRetentionDays: 400,
      trustedProxies: [],
      limits: DEFAULT_LIMITS,
      tls: undefined,
    });
  });

  test('finds the key encryption key beside the file, and takes whole days from 0 to 3650', () => {
    const text = (days: string) =>
      `issuer = "https://id.example"\nkey_encryption_key_file = "../kek"\nsigning_key_rotation_days = ${days}`;
    expect(parseConfig(text('0'), '/srv/latchkey/authority.toml')).toMatchObject({
      signingKeyRotationDays: 0,
      keyEncryptionKeyFile: '/srv/kek',
    });
    expect(parseConfig(text('3650'), 'x').signingKeyRotationDays).toBe(3650);
    for (const days of ['-1', '3651', '0.5', '"30"']) {
      expect(() => parseConfig(text(days), 'x')).toThrow(ConfigError);
    }
  });

  test('finds certificate and key beside the file', () => {
    const text =
      'issuer = "https://id.example"\n[tls]\ncertificate_file = "c.pem"\nkey_file = "/k.pem"';
    expect(parseConfig(text, '/srv/latchkey/authority.toml').tls).toEqual({
      certificateFile: '/srv/latchkey/c.pem',
      keyFile: '/k.pem',
    });
  });

  test.each([
    { name: 'a limit of 1', text: '[limits]\nclient_burst = 1', isGood: true },
    { name: 'a limit of 0', text: '[limits]\nclient_burst = 0', isGood: false },
    { name: 'a limit of 1,000,000', text: '[limits]\naddress_per_second = 1000000', isGood: true },
    { name: 'a limit above', text: '[limits]\naddress_per_second = 1000001', isGood: false },
    { name: 'a limit that nobody knows', text: '[limits]\naddress = 1', isGood: false },
    { name: 'retention for ever', text: 'audit_retention_days = 0', isGood: true },
    { name: 'retention of less than nothing', text: 'audit_retention_days = -1', isGood: false },
    { name: 'a proxy', text: 'trusted_proxies = ["10.0.0.1", "::1"]', isGood: true },
    { name: 'a network', text: 'trusted_proxies = ["10.0.0.0/32", "fd00::/128"]', isGood: true },
    { name: 'too many bits', text: 'trusted_proxies = ["10.0.0.0/33"]', isGood: false },
    { name: 'a name', text: 'trusted_proxies = ["proxy.example"]', isGood: false },
    { name: 'everybody', text: 'trusted_proxies = true', isGood: false },
    { name: 'a certificate without key', text: '[tls]\ncertificate_file = "c"', isGood: false },
  ])('$name', ({ text, isGood }) => {
    const parse = () => parseConfig(`issuer = "https://id.example"\n${text}`, 'x');
    if (isGood) expect(parse).not.toThrow();
    else expect(parse).toThrow(ConfigError);
  });

  test('takes an IPv6 address in brackets', () => {
    const text = 'issuer = "https://id.example"\nlisten = "[::1]:0"';
    expect(parseConfig(text, 'x').listen).toEqual({ host: '::1', port: 0 });
  });

  test('lists every problem with its path, unknown keys too', () => {
    const text = `issuer = "http://id.example"\nlisten = "0.0.0.0"\nlog_level = "loud"\nport = 1\nhost = "x"\n[tls]\ncert = "x"`;
    try {
      parseConfig(text, 'authority.toml');
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(ConfigError);
      const { problems, message } = error as ConfigError;
      expect(problems.map(({ path }) => path).sort()).toEqual([
        'host',
        'issuer',
        'listen',
        'log_level',
        'port',
        'tls.cert',
        'tls.certificate_file',
        'tls.key_file',
      ]);
      expect(message).toMatch(/^authority\.toml is not valid:\n/);
      expect(problems.every((problem) => problem.message !== '')).toBe(true);
    }
  });

  test.each([
    { name: 'malformed TOML', text: 'issuer = = 1', path: 'line 1, column 10' },
    { name: 'a key twice', text: 'issuer = "a"\nissuer = "b"', path: 'line 2, column 1' },
    { name: 'an empty file', text: '', path: 'issuer' },
    { name: 'an issuer with a query', text: 'issuer = "https://id.example?x"', path: 'issuer' },
    {
      name: 'an issuer with a trailing slash',
      text: 'issuer = "https://id.example/"',
      path: 'issuer',
    },
    {
      name: 'an issuer whose path is a route pattern',
      text: 'issuer = "https://id.example/:x"',
      path: 'issuer',
    },
    { name: 'a number for text', text: 'issuer = 1', path: 'issuer' },
  ])('$name', ({ text, path }) => {
    expect(() => parseConfig(text, 'authority.toml')).toThrow(
      expect.objectContaining({
        problems: [
          expect.objectContaining({ path: expect.stringContaining(path.split(',')[0] as string) }),
        ],
      }),
    );
  });
});

describe('init', () => {
  test('makes files that only their owner can read', async () => {
    const dir = await dataDir();
    const mode = (path: string) => (statSync(path).mode & 0o777).toString(8);
    const paths = dataDirPaths(dir);
    const [key] = readdirSync(paths.signingKeys);
    expect({
      dir: mode(dir),
      registry: mode(paths.registry),
      operatorKey: mode(paths.operatorKey),
      signingKeys: mode(paths.signingKeys),
      signingKey: mode(join(paths.signingKeys, key as string)),
    }).toEqual({
      dir: '700',
      registry: '600',
      operatorKey: '600',
      signingKeys: '700',
      signingKey: '600',
    });
    expect(JSON.parse(readFileSync(paths.operatorKey, 'utf8'))).toEqual({
      issuer: 'https://id.example',
      client_id: 'operator',
      private_key: expect.stringMatching(/^-----BEGIN PRIVATE KEY-----\n/),
    });
    expect(readdirSync(dir).sort()).toEqual([
      'authority.toml',
      'operator-key.json',
      'registry.sqlite',
      'signing-keys',
    ]);
  });

  test('listens where a loopback issuer is', async () => {
    const dir = temporaryDir();
    await initDataDir({ dataDir: dir, issuer: parseIssuer('http://127.0.0.1:9500'), clock });
    expect(loadConfig(dir).listen).toEqual({ host: '127.0.0.1', port: 9500 });
  });

  test.each([
    {
      name: 'the data directory of an authority',
      prepare: () => dataDir(),
      says: 'is the data directory of an authority already',
    },
    {
      name: 'a directory with something in it',
      prepare: async () => {
        const dir = temporaryDir();
        writeFileSync(join(dir, 'notes.txt'), 'mine');
        return dir;
      },
      says: 'is not empty',
    },
  ])('refuses $name and changes nothing', async ({ prepare, says }) => {
    const dir = await prepare();
    const before = snapshot(dir);
    const args = ['init', '--data-dir', dir, '--issuer', 'https://other.example'];
    const { exitCode, stderr } = await runCli(args);
    expect(exitCode).toBe(2);
    expect(stderr).toContain(says);
    expect(snapshot(dir)).toEqual(before);
  });

  test.each(['http://id.example', 'id.example', 'https://ID.example', 'https://id.example/a:b'])(
    'refuses the issuer %s and makes nothing',
    async (issuer) => {
      const dir = join(temporaryDir(), 'new');
      const { exitCode, stderr } = await runCli(['init', '--data-dir', dir, '--issuer', issuer]);
      expect(exitCode).toBe(2);
      expect(stderr).toMatch(/^error: --issuer /);
      expect(() => statSync(dir)).toThrow('ENOENT');
    },
  );
});

describe('validate', () => {
  const validate = (dir: string) => runCli(['validate', '--data-dir', dir]);

  test('accepts what init made, and changes nothing', async () => {
    const dir = await dataDir();
    const before = snapshot(dir);
    expect(await validate(dir)).toEqual({ exitCode: 0, stdout: `${dir} is valid\n`, stderr: '' });
    expect(snapshot(dir)).toEqual(before);
  });

  test('accepts a data directory whose operator key is kept elsewhere', async () => {
    const dir = await dataDir();
    rmSync(dataDirPaths(dir).operatorKey);
    expect((await validate(dir)).exitCode).toBe(0);
  });

  const signingKeyOf = (dir: string) => {
    const { signingKeys } = dataDirPaths(dir);
    return join(signingKeys, readdirSync(signingKeys)[0] as string);
  };

  test.each<{ name: string; damage: (dir: string) => unknown; says: string }>([
    {
      name: 'another issuer than at init',
      damage: (dir: string) =>
        writeFileSync(dataDirPaths(dir).config, 'issuer = "https://other.example"'),
      says: 'issuer: is not the one that this data directory was made for',
    },
    {
      name: 'unknown key',
      damage: (dir: string) =>
        writeFileSync(dataDirPaths(dir).config, 'issuer = "https://id.example"\nissure = 1'),
      says: 'issure: unknown key',
    },
    {
      name: 'malformed TOML',
      damage: (dir: string) => writeFileSync(dataDirPaths(dir).config, '['),
      says: 'line 1',
    },
    {
      name: 'a signing key that its group can read',
      damage: (dir: string) => chmodSync(signingKeyOf(dir), 0o640),
      says: 'can be read by others (mode 0640)',
    },
    {
      name: 'no signing key',
      damage: (dir: string) => rmSync(signingKeyOf(dir)),
      says: 'does not exist',
    },
    {
      name: 'a signing key that is none',
      damage: (dir: string) => writeFileSync(signingKeyOf(dir), 'x'),
      says: 'is not an unencrypted PKCS#8 PEM private key',
    },
    {
      name: "another authority's signing key",
      damage: async (dir: string) => {
        const other = await dataDir();
        writeFileSync(signingKeyOf(dir), readFileSync(signingKeyOf(other)));
      },
      says: 'holds another key than its name says',
    },
    {
      name: 'an operator key that others can read',
      damage: (dir: string) => chmodSync(dataDirPaths(dir).operatorKey, 0o604),
      says: 'can be read by others (mode 0604)',
    },
    {
      name: 'an operator key with an unknown member',
      damage: (dir: string) => writeFileSync(dataDirPaths(dir).operatorKey, '{"key":"x"}'),
      says: 'private_key: is missing',
    },
    {
      name: 'no registry',
      damage: (dir: string) => rmSync(dataDirPaths(dir).registry),
      says: 'cannot be opened',
    },
    {
      name: 'a registry that is no database',
      damage: (dir: string) => writeFileSync(dataDirPaths(dir).registry, 'x'.repeat(4096)),
      says: 'cannot be opened: file is not a database',
    },
    {
      name: 'a registry of a newer program',
      damage: (dir: string) => execSql({ dataDir: dir }, 'PRAGMA user_version = 99'),
      says: 'use a newer latchkey',
    },
    {
      name: 'a registry that was never migrated',
      damage: (dir: string) => writeFileSync(dataDirPaths(dir).registry, ''),
      says: 'run: latchkey upgrade',
    },
    {
      name: 'no active signing key',
      damage: (dir: string) =>
        execSql({ dataDir: dir }, "DELETE FROM signing_key WHERE status = 'active'"),
      says: 'signing_key: none is active',
    },
  ])('names: $name', async ({ damage, says }) => {
    const dir = await dataDir();
    await damage(dir);
    const before = snapshot(dir);
    const { exitCode, stdout, stderr } = await validate(dir);
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
    expect(stderr).toContain(says);
    expect(stderr).not.toContain('    at ');
    expect(snapshot(dir)).toEqual(before);
  });

  test('names the problems of all files at once', async () => {
    const dir = await dataDir();
    chmodSync(signingKeyOf(dir), 0o644);
    chmodSync(dataDirPaths(dir).operatorKey, 0o644);
    const { stderr } = await validate(dir);
    expect(stderr).toContain('.pem is not valid');
    expect(stderr).toContain('operator-key.json is not valid');
  });
});

describe('an older registry', () => {
  test('of a newer program is refused by serve too', async () => {
    const dir = await dataDir();
    execSql({ dataDir: dir }, 'PRAGMA user_version = 99');
    await expect(openDataDir({ dataDir: dir, config: loadConfig(dir), clock })).rejects.toThrow(
      'use a newer latchkey',
    );
  });

  test('init cleans up when it fails half way', async () => {
    const parent = temporaryDir();
    const dir = mkdtempSync(join(parent, 'x-'));
    const failing = {
      ...clock,
      now: () => {
        throw new Error('no time');
      },
    };
    const issuer = parseIssuer('https://id.example');
    await expect(initDataDir({ dataDir: dir, issuer, clock: failing })).rejects.toThrow('no time');
    expect(readdirSync(dir)).toEqual([]);
    const fresh = join(parent, 'fresh');
    await expect(initDataDir({ dataDir: fresh, issuer, clock: failing })).rejects.toThrow(
      'no time',
    );
    expect(() => statSync(fresh)).toThrow('ENOENT');
    mkdirSync(fresh);
    await initDataDir({ dataDir: fresh, issuer, clock });
    expect(loadConfig(fresh).issuer).toBe(issuer);
  });
});
