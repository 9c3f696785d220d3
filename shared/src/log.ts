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
 * Member names that hold secrets on our wires and in our files. `strikeOut` takes them
 * out of a log: a second line of defence, since no code logs them on purpose.
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

const SECRETS: ReadonlySet<string> = new Set(SECRET_FIELDS);
const STRUCK_OUT = '[secret]';

function withoutSecrets(fields: object): object {
  let copy: Record<string, unknown> | undefined;
  for (const name of Object.keys(fields)) {
    if (!SECRETS.has(name)) continue;
    if (copy === undefined) {
      copy = { ...fields };
      // The members of an error that matter are not enumerable.
      const { message, stack } = fields as Partial<Error>;
      if (fields instanceof Error) Object.assign(copy, { message, stack });
    }
    copy[name] = STRUCK_OUT;
  }
  return copy ?? fields;
}

/**
 * For pino's `formatters.log`: strikes out the members of `SECRET_FIELDS` at the first two levels. A
 * line is copied only when there is something to strike out, so it costs less than pino's `redact`.
 */
export function strikeOut(fields: LogFields): Record<string, unknown> {
  const clean = withoutSecrets(fields) as Record<string, unknown>;
  let copy: Record<string, unknown> | undefined;
  for (const name of Object.keys(clean)) {
    const value = clean[name];
    if (typeof value !== 'object' || value === null) continue;
    const inner = withoutSecrets(value);
    if (inner === value) continue;
    copy ??= { ...clean };
    copy[name] = inner;
  }
  return copy ?? clean;
}
