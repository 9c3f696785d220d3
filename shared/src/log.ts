/**
 * The logger interface that libraries take, and what programs must strike out of their logs.
 *
 * Units   none.
 * Errors  none.
 * Source  Invariant I1: no credential, token, assertion or private key in a log.
 *
 * @module
 */

/** Values of one log line. Each line carries `event`, a stable dotted name such as `client.enrolled`. */
export type LogFields = Readonly<Record<string, unknown>>;

/** Structured logger; a pino logger is one. `message` is constant, data goes into `fields`. */
export interface Logger {
  debug(fields: LogFields, message: string): void;
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
  /** Whether lines of that level are written; where it is absent, assume so. */
  isLevelEnabled?(level: 'debug'): boolean;
}

const nothing = (): void => undefined;

/** Discards everything. */
export const silentLogger: Logger = {
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
  isLevelEnabled: () => false,
};

/**
 * Member names that hold secrets on our wires and in our files. Programs give them to pino's
 * `redact` at the first two levels: a second line of defence, since no code logs them on purpose.
 */
export const SECRET_FIELDS: readonly string[] = [
  'access_token',
  'assertion',
  'authorization',
  'client_assertion',
  'client_secret',
  'd',
  'enrollment_code',
  'password',
  'private_key',
  'proof',
  'token',
];

/** Paths for pino's `redact` option, made of `SECRET_FIELDS`. */
export const redactPaths: readonly string[] = SECRET_FIELDS.flatMap((name) => [name, `*.${name}`]);
