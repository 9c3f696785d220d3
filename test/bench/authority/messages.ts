/**
 * What the suite says to the process that makes load, and what it answers.
 *
 * Units   milliseconds.
 *
 * @module
 */

/** How a token is asked for. */
export type Request =
  /** jwt-bearer: the assertion is the grant. */
  | 'grant'
  /** client_credentials with private_key_jwt, for servers without jwt-bearer. */
  | 'client-authentication'
  /** jwt-bearer of clients that are not registered. */
  | 'unknown-client'
  /** jwt-bearer with one character of the signature changed. */
  | 'bad-signature';

export interface Target {
  readonly issuer: string;
  readonly port: number;
  readonly path: string;
  /** `resource` of the request; none is sent when it is absent. */
  readonly resource?: string;
}

export interface Order {
  readonly target: Target;
  readonly request: Request;
  /** Devices `d-0000000` on, of which each request takes one at random. */
  readonly devices: { readonly first: number; readonly count: number };
  readonly requests: number;
  readonly connections: number;
  /** Requests a second, whether or not the answers come; absent: each connection sends when it was answered. */
  readonly perSecond?: number;
  readonly expectedStatus: number;
}

export interface Outcome {
  readonly ms: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export type ToLoad =
  | { readonly type: 'keys'; readonly count: number }
  | { readonly type: 'run'; readonly order: Order };
export type FromLoad =
  /** Public keys, `x` of the JWK, in the order of the devices. */
  | { readonly type: 'keys'; readonly xs: readonly string[] }
  | { readonly type: 'done'; readonly outcome: Outcome }
  | { readonly type: 'failed'; readonly message: string };

/** Id of a device; all have the same length, so that they are in the order of their numbers. */
export const deviceId = (index: number): string => `d-${String(index).padStart(7, '0')}`;
