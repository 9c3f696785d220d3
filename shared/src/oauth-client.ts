/**
 * The client's side of the authorization server: discovery and the jwt-bearer grant.
 *
 * Units   `expiresAt`, `serverDate`: NumericDate.
 * Errors  `UnreachableError`: try again later. `TokenRequestError`: the server said no.
 * Source  RFC 8414 3, RFC 7523 2.1, RFC 6749 5, RFC 8707 2.
 *
 * @module
 */
import * as v from 'valibot';
import { signAssertion } from './assertion.js';
import { UnreachableError } from './errors.js';
import type { HttpClient, HttpResponse } from './http-client.js';
import type { ClientId, Issuer } from './ids.js';
import type { Signer } from './signer.js';
import { type NumericDate, parseHttpDate } from './time.js';

export const JWT_BEARER_GRANT = 'urn:ietf:params:oauth:grant-type:jwt-bearer';

export interface ServerMetadata {
  readonly issuer: string;
  readonly token_endpoint: string;
  readonly jwks_uri: string;
  readonly enrollment_endpoint?: string | undefined;
  readonly key_rotation_endpoint?: string | undefined;
}

const metadataSchema = v.object({
  issuer: v.string(),
  token_endpoint: v.pipe(v.string(), v.url()),
  jwks_uri: v.pipe(v.string(), v.url()),
  enrollment_endpoint: v.optional(v.pipe(v.string(), v.url())),
  key_rotation_endpoint: v.optional(v.pipe(v.string(), v.url())),
});

const tokenResponseSchema = v.object({
  access_token: v.pipe(v.string(), v.minLength(1)),
  token_type: v.pipe(v.string(), v.regex(/^bearer$/i)),
  expires_in: v.pipe(v.number(), v.integer(), v.minValue(1)),
  scope: v.optional(v.string(), ''),
  may_mint: v.optional(v.boolean(), false),
});

const errorSchema = v.object({ error: v.string(), error_description: v.optional(v.string(), '') });

/** The authorization server refused, by a registered code. */
export class TokenRequestError extends Error {
  readonly error: string;
  readonly status: number;
  /** The server's clock at the answer, from its `Date` header. */
  readonly serverDate: NumericDate | undefined;

  constructor(
    error: string,
    description: string,
    status: number,
    serverDate: NumericDate | undefined,
  ) {
    super(description === '' ? error : `${error}: ${description}`);
    this.name = 'TokenRequestError';
    this.error = error;
    this.status = status;
    this.serverDate = serverDate;
  }
}

/** Where RFC 8414 3.1 puts the metadata: between host and path of the issuer. */
export function metadataUrl(issuer: Issuer): string {
  const { origin, pathname } = new URL(issuer);
  return `${origin}/.well-known/oauth-authorization-server${pathname === '/' ? '' : pathname}`;
}

function parseBody<Schema extends v.GenericSchema>(
  schema: Schema,
  body: string,
  what: string,
): v.InferOutput<Schema> {
  try {
    return v.parse(schema, JSON.parse(body));
  } catch (cause) {
    throw new UnreachableError(`${what} is not as expected`, { cause });
  }
}

function describeStatus(status: number): string {
  return status >= 300 && status < 400
    ? `${status}: a redirect, which is not followed`
    : `${status}`;
}

/** Throws what an answer other than 2xx means: a refusal by code, or a server that cannot serve now. */
export function refusalOf(response: HttpResponse, what: string): Error {
  const date = response.headers.date;
  const serverDate = parseHttpDate(Array.isArray(date) ? date[0] : date);
  if (response.status >= 400 && response.status < 500 && response.status !== 429) {
    try {
      const { error, error_description } = v.parse(errorSchema, JSON.parse(response.body));
      return new TokenRequestError(error, error_description, response.status, serverDate);
    } catch {
      return new UnreachableError(`${what} answered ${response.status} without an OAuth error`);
    }
  }
  return new UnreachableError(`${what} answered ${describeStatus(response.status)}`);
}

/** Fetches the metadata and compares its issuer with the one asked for (RFC 8414 3.3). */
export async function discover(
  http: HttpClient,
  issuer: Issuer,
  signal?: AbortSignal,
): Promise<ServerMetadata> {
  const url = metadataUrl(issuer);
  const response = await http.request({ method: 'GET', url, ...(signal && { signal }) });
  if (response.status !== 200) {
    throw new UnreachableError(`${url} answered ${describeStatus(response.status)}`);
  }
  const metadata = parseBody(metadataSchema, response.body, url);
  if (metadata.issuer !== issuer) {
    throw new UnreachableError(
      `${url} names another issuer than ${issuer}; it is not to be trusted`,
    );
  }
  return metadata;
}

export interface TokenRequest {
  readonly http: HttpClient;
  readonly metadata: ServerMetadata;
  readonly issuer: Issuer;
  readonly clientId: ClientId;
  readonly signer: Signer;
  readonly now: NumericDate;
  readonly resource?: string | undefined;
  readonly scope?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface TokenResponse {
  readonly accessToken: string;
  readonly issuedAt: NumericDate;
  readonly expiresAt: NumericDate;
  readonly scope: string;
  /** Whether the client may make tokens itself while the authority cannot be reached (ours). */
  readonly mayMint: boolean;
}

/** Obtains an access token with a fresh assertion (RFC 7523 2.1). */
export async function requestToken(request: TokenRequest): Promise<TokenResponse> {
  const { http, metadata, issuer, clientId, signer, now, resource, scope, signal } = request;
  const form = new URLSearchParams({
    grant_type: JWT_BEARER_GRANT,
    assertion: await signAssertion(signer, { clientId, issuer, now }),
  });
  if (resource !== undefined) form.set('resource', resource);
  if (scope !== undefined) form.set('scope', scope);
  const url = metadata.token_endpoint;
  const response = await http.request({
    method: 'POST',
    url,
    headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' },
    body: form.toString(),
    ...(signal && { signal }),
  });
  if (response.status !== 200) throw refusalOf(response, url);
  const answer = parseBody(tokenResponseSchema, response.body, url);
  return {
    accessToken: answer.access_token,
    issuedAt: now,
    expiresAt: now + answer.expires_in,
    scope: answer.scope,
    mayMint: answer.may_mint,
  };
}
