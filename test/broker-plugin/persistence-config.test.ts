/** The section `[persistence]`, and what it needs outside of the configuration. */
import { chmodSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { ConfigError, silentLogger, UnreachableError } from '@latchkey/shared';
import { expect, onTestFinished, test } from 'vitest';
import { parseBrokerConfig } from '../../broker-plugin/src/broker/config.ts';
import { openPersistence } from '../../broker-plugin/src/persistence/open-persistence.ts';
import {
  loadBesideProgram,
  loadPackage,
  MissingPackageError,
} from '../../broker-plugin/src/persistence/optional-package.ts';
import type { PersistenceConfig } from '../../broker-plugin/src/persistence/persistence-config.ts';
import { isAedes2 } from '../helpers/aedes-version.ts';
import { createCapturedLog } from '../helpers/captured-log.ts';
import { subscribePacket } from '../helpers/mqtt-wire.ts';
import { freePort, temporaryDir } from '../helpers/processes.ts';
import { hasRedis, REDIS_PASSWORD, startRedis } from '../helpers/redis-server.ts';
import { startStoringBroker } from '../helpers/stored-sessions.ts';

const rest =
  'issuer = "https://id.example"\naudience = "mqtts://b"\n[[listen]]\ntype = "tcp"\nport = 0\n';
const parse = (section: string, isInsecure = false) =>
  parseBrokerConfig(`${rest}[persistence]\n${section}`, 'broker.toml', { isInsecure }).persistence;

function problems(section: string): readonly string[] {
  try {
    parse(section);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems.map(({ path }) => path);
    throw error;
  }
  return [];
}

test('broker.example.toml shows every option of each type', async () => {
  const example = new URL('../../broker-plugin/broker.example.toml', import.meta.url);
  const text = await readFile(example, 'utf8');
  const options = [...text.matchAll(/^# {3}([a-z_]+ = .*)$/gm)].map(([, line]) => line as string);
  const only = (...names: string[]) =>
    options.filter((line) => names.includes(line.split(' ')[0] as string)).join('\n');
  expect(parse(`type = "level"\n${only('directory')}`)).toEqual({
    type: 'level',
    directory: '/var/lib/latchkey-broker/sessions',
  });
  const parts = ['host', 'port', 'database', 'username', 'password_file', 'tls', 'ca_file'];
  const shown = parse(`type = "redis"\n${only(...parts)}`);
  expect(shown).toEqual({
    ...parse('type = "redis"'),
    username: 'latchkey',
    passwordFile: '/etc/latchkey/redis-password',
    caFile: '/etc/latchkey/redis-ca.pem',
  });
  expect(parse(`type = "redis"\n${only('url_file', 'ca_file')}`)).toMatchObject({
    urlFile: '/etc/latchkey/redis-url',
  });
  expect(options).toHaveLength(parts.length + 2);
});

test.each([
  { name: 'no type', section: 'directory = "x"', paths: ['persistence.type'] },
  { name: 'an unknown type', section: 'type = "postgres"', paths: ['persistence.type'] },
  {
    name: 'level without a directory',
    section: 'type = "level"',
    paths: ['persistence.directory'],
  },
  {
    name: 'an empty directory',
    section: 'type = "level"\ndirectory = ""',
    paths: ['persistence.directory'],
  },
  {
    name: 'a directory in memory',
    section: 'type = "memory"\ndirectory = "x"',
    paths: ['persistence.directory'],
  },
  {
    name: 'a password as a value',
    section: 'type = "redis"\npassword = "x"',
    paths: ['persistence.password'],
  },
  { name: 'a URL as a value', section: 'type = "redis"\nurl = "x"', paths: ['persistence.url'] },
  { name: 'port 0', section: 'type = "redis"\nport = 0', paths: ['persistence.port'] },
  { name: 'port 65536', section: 'type = "redis"\nport = 65536', paths: ['persistence.port'] },
  {
    name: 'Redis elsewhere without TLS',
    section: 'type = "redis"\nhost = "redis.example"',
    paths: ['persistence.host'],
  },
  {
    name: 'a URL file and a host',
    section: 'type = "redis"\nurl_file = "x"\nhost = "127.0.0.1"',
    paths: ['persistence'],
  },
])('$name is refused', ({ section, paths }) => {
  expect(problems(section)).toEqual(paths);
});

test('Redis may be elsewhere with TLS, or with --insecure', () => {
  const elsewhere = 'type = "redis"\nhost = "redis.example"\n';
  expect(parse(`${elsewhere}tls = true`)).toMatchObject({ hasTls: true });
  expect(parse(elsewhere, true)).toMatchObject({ host: 'redis.example', hasTls: false });
});

const open = (config: PersistenceConfig, load = loadBesideProgram) =>
  openPersistence(config, { logger: silentLogger, load });

test.each([
  {
    config: { type: 'level', directory: '/nowhere/x' } as const,
    command: 'npm install aedes-persistence-level level',
  },
  {
    config: parse('type = "redis"'),
    command: 'npm install aedes-persistence-redis',
  },
])('without its package $config.type says how to install it', async ({ config, command }) => {
  const elsewhere = createRequire(join(temporaryDir(), 'program.js'));
  await expect(open(config, elsewhere)).rejects.toThrow(MissingPackageError);
  await expect(open(config, elsewhere)).rejects.toThrow(command);
});

test('a package that is there and broken is not called missing', () => {
  const dir = temporaryDir();
  mkdirSync(join(dir, 'node_modules/half'), { recursive: true });
  writeFileSync(join(dir, 'node_modules/half/index.js'), "require('./other-half')");
  const load = createRequire(join(dir, 'program.js'));
  expect(() => loadPackage(load, 'half', ['half'])).toThrow(/other-half/);
  expect(() => loadPackage(load, 'half', ['half'])).not.toThrow(MissingPackageError);
});

test('the directory of level is for its owner alone, and for one process', async () => {
  const directory = join(temporaryDir(), 'made/sessions');
  const opened = await open({ type: 'level', directory });
  onTestFinished(() => opened.close());
  expect(statSync(directory).mode & 0o777).toBe(0o700);
  await expect(open({ type: 'level', directory })).rejects.toThrow('in use by another process');
});

test.each([0o750, 0o705])('a directory of mode %o is refused', async (mode) => {
  const directory = join(temporaryDir(), 'sessions');
  mkdirSync(directory);
  chmodSync(directory, mode);
  await expect(open({ type: 'level', directory })).rejects.toThrow(/can be read by others.*chmod/);
});

test('a directory that cannot be made is told with the reason', async () => {
  const file = join(temporaryDir(), 'file');
  writeFileSync(file, '');
  await expect(open({ type: 'level', directory: join(file, 'x') })).rejects.toThrow('ENOTDIR');
});

function secretFile(text: string, mode = 0o600): string {
  const file = join(temporaryDir(), 'secret');
  writeFileSync(file, text, { mode });
  chmodSync(file, mode);
  return file;
}

test.each([
  { name: 'no URL', text: 'guess-me', message: 'must hold a URL' },
  { name: 'another scheme', text: 'http://:guess-me@127.0.0.1/', message: 'must hold a URL' },
  { name: 'a database by name', text: 'redis://:guess-me@127.0.0.1/x', message: 'must hold a URL' },
  {
    name: 'another machine without TLS',
    text: 'redis://:guess-me@redis.example/0',
    message: 'begin with rediss:',
  },
  { name: 'nothing', text: '\n', message: 'is empty' },
])('I1: a URL file with $name is refused, and not quoted', async ({ text, message }) => {
  const urlFile = secretFile(text);
  const failure = await open(parse(`type = "redis"\nurl_file = "${urlFile}"`)).catch(
    (error: unknown) => error as Error,
  );
  expect(failure).toBeInstanceOf(ConfigError);
  expect((failure as Error).message).toContain(message);
  expect((failure as Error).message).not.toContain('guess-me');
});

test.each(['password_file', 'url_file'])('%s must be for its owner alone', async (option) => {
  const file = secretFile('redis://127.0.0.1', 0o640);
  const config = parse(`type = "redis"\n${option} = "${file}"`);
  await expect(open(config)).rejects.toThrow(/can be read by others.*chmod 600/);
  await expect(open(parse(`type = "redis"\n${option} = "/nowhere/x"`))).rejects.toThrow('ENOENT');
});

test('Redis that does not answer is told as unreachable', async () => {
  const port = await freePort();
  const failure = open(parse(`type = "redis"\nport = ${port}`));
  await expect(failure).rejects.toThrow(UnreachableError);
  await expect(failure).rejects.toThrow(`127.0.0.1:${port}`);
});

test.skipIf(!hasRedis)('I1: a wrong password is told, and never quoted', async () => {
  const { port } = await startRedis();
  for (const text of ['', 'guess-me']) {
    const password = text && `password_file = "${secretFile(text)}"\n`;
    const failure = await open(parse(`type = "redis"\nport = ${port}\n${password}`)).catch(
      (error: unknown) => error as Error,
    );
    expect(failure).toBeInstanceOf(UnreachableError);
    expect((failure as Error).message).toMatch(/NOAUTH|WRONGPASS/);
    expect((failure as Error).message).not.toContain('guess-me');
  }
});

test.skipIf(!hasRedis)('a URL file reaches Redis, with a password of any characters', async () => {
  const { port } = await startRedis();
  const url = `redis://:${encodeURIComponent(REDIS_PASSWORD)}@127.0.0.1:${port}/3\n`;
  const config = parse(`type = "redis"\nurl_file = "${secretFile(url)}"`);
  const opened = await open(config);
  expect(opened.isReady()).toBe(true);
  await opened.close();
  expect(opened.isReady()).toBe(false);
});

test.skipIf(!hasRedis)(
  'while Redis is away stored sessions are refused and the broker lives; then all goes on',
  async () => {
    const redis = await startRedis();
    const broker = await startStoringBroker(
      `[persistence]\ntype = "redis"\nport = ${redis.port}\npassword_file = "${redis.passwordFile}"\n`,
    );
    await redis.kill();
    expect(await broker.log.event('persistence.unavailable')).toMatchObject({ port: redis.port });
    expect((await broker.connect({ scope: 'sub:#' }, { clean: false })).connack).toMatchObject({
      returnCode: 3,
    });
    await redis.start();
    await broker.log.event('persistence.available');
    const back = await broker.connect({ scope: 'sub:#' }, { clean: false });
    expect(back.connack.returnCode).toBe(0);
    expect(broker.log.text()).not.toContain(REDIS_PASSWORD);
  },
);

// Aedes 2 ends the connection instead.
test.skipIf(!hasRedis || isAedes2)(
  'while Redis is away sessions without storage go on, and hear nothing retained',
  async () => {
    const redis = await startRedis();
    const broker = await startStoringBroker(
      `[persistence]\ntype = "redis"\nport = ${redis.port}\npassword_file = "${redis.passwordFile}"\n`,
    );
    const stays = await broker.connect({ clientId: 'stays', scope: 'pub:# sub:#' });
    await redis.kill();
    await broker.log.event('persistence.unavailable');
    stays.send(subscribePacket({ 'a/#': 0 }));
    expect(await stays.next('suback')).toMatchObject({ granted: [0] });
    stays.send({ cmd: 'publish', topic: 'a/b', payload: 'x', qos: 0, retain: false, dup: false });
    expect((await stays.next('publish')).topic).toBe('a/b');
    expect(broker.log.all('persistence.failed')).toHaveLength(1);
  },
);

test('the log of a broker without a persistence says nothing of one', async () => {
  const log = createCapturedLog();
  const opened = await openPersistence({ type: 'memory' }, { logger: log });
  expect(opened.persistence).toBeUndefined();
  expect(opened.isReady()).toBe(true);
  await opened.close();
  expect(log.lines).toEqual([]);
});
