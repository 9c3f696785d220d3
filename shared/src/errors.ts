/**
 * Every error that crosses a boundary: OAuth errors, refused JWTs, malformed input, bad configuration.
 *
 * Units   `status`: HTTP status code. `clockOffsetSeconds`: seconds.
 * Errors  This file defines them and imports nothing. `message` may be sent to a stranger; `detail`
 *         and `cause` are for the log only. Tests match `error`, `status`, `reason`, never `message`.
 * Source  RFC 6749 5.2, RFC 6750 3.1, RFC 8707 2.
 *
 * @module
 */

export interface OAuthErrorOptions {
  /** For the log only: never sent to a client. */
  readonly detail?: string;
  readonly cause?: unknown;
}

/** A failure that an OAuth client is told about by a registered code. */
export abstract class OAuthError extends Error {
  /** Registered error code, `error` in the answer. */
  abstract readonly error: string;
  /** HTTP status of the answer. */
  abstract readonly status: number;
  readonly detail: string | undefined;

  constructor(message: string, options: OAuthErrorOptions = {}) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.name = new.target.name;
    this.detail = options.detail;
  }
}

/** Malformed request or repeated parameter (RFC 6749 5.2). */
export class InvalidRequestError extends OAuthError {
  readonly error = 'invalid_request';
  readonly status: number;

  /** `status` is 400 unless the transport has a better one (413, 415). */
  constructor(message: string, options: OAuthErrorOptions & { readonly status?: number } = {}) {
    super(message, options);
    this.status = options.status ?? 400;
  }
}
/** Client authentication failed (RFC 6749 5.2). */
export class InvalidClientError extends OAuthError {
  readonly error = 'invalid_client';
  readonly status = 401;
}
/** Assertion or enrollment code refused (RFC 6749 5.2, RFC 7523 3.1). */
export class InvalidGrantError extends OAuthError {
  readonly error = 'invalid_grant';
  readonly status = 400;
}
/** The client may not use this grant (RFC 6749 5.2). */
export class UnauthorizedClientError extends OAuthError {
  readonly error = 'unauthorized_client';
  readonly status = 400;
}
/** The grant is not known here (RFC 6749 5.2). */
export class UnsupportedGrantTypeError extends OAuthError {
  readonly error = 'unsupported_grant_type';
  readonly status = 400;
}
/** The scope is malformed or wider than what the client has (RFC 6749 5.2). */
export class InvalidScopeError extends OAuthError {
  readonly error = 'invalid_scope';
  readonly status = 400;
}
/** The resource is unknown, or the client has nothing there (RFC 8707 2). */
export class InvalidTargetError extends OAuthError {
  readonly error = 'invalid_target';
  readonly status = 400;
}
/** The access token is missing, malformed, expired, forged or of a dead client (RFC 6750 3.1). */
export class InvalidTokenError extends OAuthError {
  readonly error = 'invalid_token';
  readonly status = 401;
}
/** The access token is good and does not allow this (RFC 6750 3.1). */
export class InsufficientScopeError extends OAuthError {
  readonly error = 'insufficient_scope';
  readonly status = 403;
}
/** Keys or store cannot be reached; try again later. */
export class UnavailableError extends OAuthError {
  readonly error = 'temporarily_unavailable';
  readonly status = 503;
}

/** Why a JWT was refused. For the log and for tests; an outsider sees one answer for all. */
export type JwtRefusal =
  | 'malformed'
  | 'header'
  | 'algorithm'
  | 'type'
  | 'key'
  | 'signature'
  | 'claim'
  | 'issuer'
  | 'audience'
  | 'expired'
  | 'not-yet-valid'
  | 'scope';

/** A JWT that was refused. `claim` names the offending claim or header member when there is one. */
export class JwtError extends Error {
  readonly reason: JwtRefusal;
  readonly claim: string | undefined;
  /**
   * Sender's clock minus ours in seconds, set only when the signature verified and the times alone
   * were at fault, so that the sender may be told by how much its clock is wrong.
   */
  readonly clockOffsetSeconds: number | undefined;

  constructor(
    reason: JwtRefusal,
    message: string,
    options: { claim?: string; clockOffsetSeconds?: number; cause?: unknown } = {},
  ) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.name = 'JwtError';
    this.reason = reason;
    this.claim = options.claim;
    this.clockOffsetSeconds = options.clockOffsetSeconds;
  }
}

/** A value from outside that does not have the form it must have. `field` names the value. */
export class FormatError extends Error {
  readonly field: string;
  /** What is wrong, without the field's name; never echoes the value. */
  readonly problem: string;

  constructor(field: string, problem: string) {
    super(`${field} ${problem}`);
    this.name = 'FormatError';
    this.field = field;
    this.problem = problem;
  }
}

export interface ConfigProblem {
  /** Dotted path of the setting, such as `listen.tcp.0.port`; empty for the whole file. */
  readonly path: string;
  readonly message: string;
}

/** Configuration that cannot be used; lists every problem found, not only the first. */
export class ConfigError extends Error {
  readonly problems: readonly ConfigProblem[];

  constructor(source: string, problems: readonly ConfigProblem[]) {
    const lines = problems.map(({ path, message }) => `  ${path ? `${path}: ` : ''}${message}`);
    super(`${source} is not valid:\n${lines.join('\n')}`);
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

/** Another party cannot be reached or does not answer as it must; trying again later may help. */
export class UnreachableError extends Error {
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.name = 'UnreachableError';
  }
}
