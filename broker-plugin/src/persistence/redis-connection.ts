/**
 * The connection to Redis: bounded in time, silent about secrets, and never fatal.
 *
 * A command that cannot be sent now fails now: nothing queues while Redis is away, and each failure
 * becomes a refusal of the client that needed it.
 *
 * Units   milliseconds.
 * Errors  `ConfigError` for a file, `UnreachableError` when Redis cannot be reached at start.
 * Source  ioredis 5 (the client of aedes-persistence-redis); https://redis.io/docs/latest/commands/
 *
 * @module
 */
import { readFile, stat } from 'node:fs/promises';
import { ConfigError, type Logger, UnreachableError } from '@latchkey/shared';
import { readCertificates } from '../broker/certificates.js';
import { isPrivateMode } from '../private-mode.js';
import { type Load, loadFrom, loadPackage } from './optional-package.js';
import { isPrivateRoute, type RedisConfig } from './persistence-config.js';

export const REDIS_PACKAGE = 'aedes-persistence-redis';
export const REDIS_INSTALL: readonly string[] = [REDIS_PACKAGE];

const TIMEOUT_MS = 4_000;
const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 5_000;

export interface RedisConnection {
  readonly status: string;
  connect(): Promise<void>;
  quit(): Promise<unknown>;
  disconnect(): void;
  sendCommand(...values: unknown[]): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'ready' | 'close', listener: () => void): unknown;
  hset(key: string, field: string, value: string): Promise<unknown>;
  hexists(key: string, field: string): Promise<number>;
  hdel(key: string, field: string): Promise<unknown>;
  del(...keys: readonly string[]): Promise<unknown>;
  decr(key: string): Promise<number>;
  exists(key: string): Promise<number>;
  lrange(key: string, first: number, last: number): Promise<readonly string[]>;
}

interface RedisOptions {
  readonly host: string;
  readonly port: number;
  readonly db: number;
  readonly username?: string;
  readonly password?: string;
  readonly tls?: { readonly ca?: string; readonly servername?: string };
}

function refuse(file: string, message: string): never {
  throw new ConfigError(file, [{ path: '', message }]);
}

/** A secret from a file that only its owner can read, without the line end. */
async function readSecret(file: string): Promise<string> {
  const failed = ({ code = 'unknown error' }: NodeJS.ErrnoException) =>
    refuse(file, `cannot be read (${code})`);
  const { mode } = await stat(file).catch(failed);
  if (!isPrivateMode(file, mode)) refuse(file, `can be read by others; run: chmod 600 ${file}`);
  const secret = (await readFile(file, 'utf8').catch(failed)).replace(/\r?\n$/, '');
  if (secret === '') refuse(file, 'is empty');
  return secret;
}

/** `redis://user:password@host:6379/0`, or `rediss:` for TLS. */
function parseRedisUrl(text: string, file: string, isInsecure: boolean): RedisOptions {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const database = url?.pathname.slice(1) ?? '';
  if (!url || !['redis:', 'rediss:'].includes(url.protocol) || !/^\d{0,5}$/.test(database)) {
    refuse(file, 'must hold a URL such as rediss://user:password@redis.example:6379/0');
  }
  const hasTls = url.protocol === 'rediss:';
  const host = url.hostname.replace(/^\[|\]$/g, '');
  if (!isInsecure && !isPrivateRoute(host, hasTls)) {
    refuse(file, 'leads to another machine without TLS: it must begin with rediss:');
  }
  return {
    host,
    port: url.port === '' ? 6379 : Number(url.port),
    db: Number(database),
    ...(url.username === '' ? {} : { username: decodeURIComponent(url.username) }),
    ...(url.password === '' ? {} : { password: decodeURIComponent(url.password) }),
    ...(hasTls ? { tls: {} } : {}),
  };
}

/** Reads the files that the configuration names. */
export async function readRedisOptions(config: RedisConfig): Promise<RedisOptions> {
  const { urlFile, host, port, database, username, passwordFile, hasTls, caFile } = config;
  const ca = caFile && (await readCertificates(caFile)).pem;
  const named: RedisOptions =
    urlFile === undefined
      ? {
          host,
          port,
          db: database,
          ...(username === undefined ? {} : { username }),
          ...(passwordFile === undefined ? {} : { password: await readSecret(passwordFile) }),
          ...(hasTls ? { tls: {} } : {}),
        }
      : parseRedisUrl(await readSecret(urlFile), urlFile, config.isInsecure);
  return named.tls && ca ? { ...named, tls: { ca } } : named;
}

type RedisClass = new (options: object) => RedisConnection;

/** The client comes with the persistence. */
export function loadRedis(load: Load): RedisClass {
  loadPackage(load, REDIS_PACKAGE, REDIS_INSTALL);
  return loadPackage<RedisClass>(loadFrom(load, REDIS_PACKAGE), 'ioredis', REDIS_INSTALL);
}

/** Connects, or fails at once; from then on it connects again by itself. */
export async function connectRedis(
  options: RedisOptions,
  { load, logger }: { readonly load: Load; readonly logger: Logger },
): Promise<RedisConnection> {
  const Redis = loadRedis(load);
  let hasStarted = false;
  let isAway = false;
  let detail = 'no answer';
  const redis = new Redis({
    ...options,
    lazyConnect: true,
    connectTimeout: TIMEOUT_MS,
    commandTimeout: TIMEOUT_MS,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    retryStrategy: (attempt: number) =>
      hasStarted ? Math.min(FIRST_RETRY_MS * 2 ** attempt, LAST_RETRY_MS) : null,
  });
  const { host, port } = options;
  redis.on('error', ({ message }) => {
    detail = message;
  });
  redis.on('close', () => {
    if (!hasStarted || isAway) return;
    isAway = true;
    const fields = { event: 'persistence.unavailable', host, port, detail };
    logger.error(fields, 'Redis is gone: sessions that it stores are refused until it is back');
  });
  redis.on('ready', () => {
    if (!isAway) return;
    isAway = false;
    logger.info({ event: 'persistence.available', host, port }, 'Redis is back');
  });
  // The persistence sends some commands without looking at their outcome, and a rejection that
  // nobody looks at would end the process.
  const { sendCommand } = redis;
  redis.sendCommand = (...values) => {
    const outcome = sendCommand.apply(redis, values);
    if (outcome instanceof Promise) outcome.catch(() => undefined);
    return outcome;
  };
  try {
    await redis.connect();
  } catch (cause) {
    redis.disconnect();
    throw new UnreachableError(`cannot reach Redis at ${host}:${port}: ${detail}`, { cause });
  }
  hasStarted = true;
  return redis;
}
