/**
 * Where `latchkey-broker` keeps sessions: the section `[persistence]` of its configuration.
 *
 * Units   none.
 * Errors  those of valibot, with a dotted path.
 * Source  STYLE 2.6 (secrets are file paths, never values).
 *
 * @module
 */
import { isLoopbackHost } from '@latchkey/shared';
import * as v from 'valibot';
import { whole } from '../broker/limits-config.js';

export interface LevelConfig {
  readonly type: 'level';
  readonly directory: string;
}

export interface RedisConfig {
  readonly type: 'redis';
  /** Holds a whole `redis:` or `rediss:` URL, in place of the members below. */
  readonly urlFile: string | undefined;
  readonly host: string;
  readonly port: number;
  readonly database: number;
  readonly username: string | undefined;
  readonly passwordFile: string | undefined;
  readonly hasTls: boolean;
  /** PEM of the certificate authorities that are trusted; `undefined`: the system's. */
  readonly caFile: string | undefined;
  /** May be reached beyond loopback without TLS. */
  readonly isInsecure: boolean;
}

export type PersistenceConfig = { readonly type: 'memory' } | LevelConfig | RedisConfig;

const NO_TLS =
  'is on another machine, and there is no TLS: set tls = true; "latchkey-broker --insecure" connects all the same';

/** Whether nobody on the way can read what passes. */
export function isPrivateRoute(host: string, hasTls: boolean): boolean {
  return hasTls || isLoopbackHost(host);
}

const nonEmpty = v.pipe(v.string(), v.nonEmpty('must not be empty'));

const redisSchema = (isInsecure: boolean) =>
  v.pipe(
    v.strictObject({
      type: v.literal('redis'),
      url_file: v.optional(nonEmpty),
      host: v.optional(nonEmpty),
      port: v.optional(whole(1, 65_535)),
      database: v.optional(whole(0, 65_535)),
      username: v.optional(nonEmpty),
      password_file: v.optional(nonEmpty),
      tls: v.optional(v.boolean()),
      ca_file: v.optional(nonEmpty),
    }),
    v.check(
      ({ type, url_file, ca_file, ...parts }) =>
        url_file === undefined || Object.values(parts).every((part) => part === undefined),
      'url_file says all that host, port, database, username, password_file and tls could say',
    ),
    v.forward(
      v.check(
        ({ host = '127.0.0.1', tls = false }) => isInsecure || isPrivateRoute(host, tls),
        NO_TLS,
      ),
      ['host'],
    ),
  );

export const persistenceSchema = (
  isInsecure: boolean,
): v.GenericSchema<unknown, PersistenceConfig> =>
  v.pipe(
    v.variant('type', [
      v.strictObject({ type: v.literal('memory') }),
      v.strictObject({ type: v.literal('level'), directory: nonEmpty }),
      redisSchema(isInsecure),
    ]),
    v.transform((entry): PersistenceConfig => {
      if (entry.type !== 'redis') return entry;
      return {
        type: 'redis',
        urlFile: entry.url_file,
        host: entry.host ?? '127.0.0.1',
        port: entry.port ?? 6379,
        database: entry.database ?? 0,
        username: entry.username,
        passwordFile: entry.password_file,
        hasTls: entry.tls ?? false,
        caFile: entry.ca_file,
        isInsecure,
      };
    }),
  );
