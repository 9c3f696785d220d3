/**
 * Requests to the OAuth endpoints as any client library would send them, and services to send them.
 *
 * @module
 */
import { createHash, randomBytes } from 'node:crypto';
import {
  type ClientId,
  createKeySigner,
  generateKey,
  type Label,
  type NumericDate,
  type PrivateKey,
  parseClientId,
  parseRoleName,
  signAssertion,
} from '@latchkey/shared';
import type { Answer, TestAuthority } from './test-authority.ts';

export const CLIENT_ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

export interface OAuthAnswer extends Answer {
  readonly body: Readonly<Record<string, unknown>>;
}

type StringMap = Readonly<Record<string, string>>;

async function send(
  { authority, issuer }: Pick<TestAuthority, 'authority' | 'issuer'>,
  path: string,
  headers: StringMap,
  payload: string,
): Promise<OAuthAnswer> {
  const base = new URL(issuer).pathname.replace(/\/$/, '');
  const response = await authority.app.inject({
    method: 'POST',
    url: `${base}${path}`,
    headers,
    payload,
  });
  return {
    status: response.statusCode,
    headers: response.headers,
    body: response.body === '' ? {} : response.json(),
  };
}

/** Posts a form. */
export function post(
  authority: Pick<TestAuthority, 'authority' | 'issuer'>,
  path: string,
  parameters: StringMap,
  headers: StringMap = {},
): Promise<OAuthAnswer> {
  return send(
    authority,
    path,
    { 'content-type': 'application/x-www-form-urlencoded', ...headers },
    new URLSearchParams(parameters).toString(),
  );
}

/** Posts JSON; a string is sent as it is. */
export function postJson(
  authority: Pick<TestAuthority, 'authority' | 'issuer'>,
  path: string,
  body: object | string,
  headers: StringMap = {},
): Promise<OAuthAnswer> {
  return send(
    authority,
    path,
    { 'content-type': 'application/json', ...headers },
    typeof body === 'string' ? body : JSON.stringify(body),
  );
}

/** RFC 6749 2.3.1: both parts form-encoded. */
export function basic(id: string, secret: string): { readonly authorization: string } {
  const pair = `${encodeURIComponent(id)}:${encodeURIComponent(secret)}`;
  return { authorization: `Basic ${Buffer.from(pair).toString('base64')}` };
}

export interface TestService {
  readonly clientId: ClientId;
  readonly secret: string;
  readonly key: PrivateKey;
  /** `Authorization: Basic` of its secret. */
  readonly basic: { readonly authorization: string };
  /** `client_assertion` and its type, fresh. */
  assertion(options?: Partial<Parameters<typeof signAssertion>[1]>): Promise<StringMap>;
}

/** A secret as the authority makes them. */
export function newSecret(): string {
  return `lks_${randomBytes(32).toString('base64url')}`;
}

/** Gives a service another secret. */
export async function addSecret(
  { registry }: TestAuthority,
  clientId: ClientId,
  expiresAt?: NumericDate,
): Promise<string> {
  const secret = newSecret();
  await registry.addClientSecret(clientId, {
    hash: createHash('sha256').update(secret).digest(),
    prefix: secret.slice(0, 8),
    lastFour: secret.slice(-4),
    label: '',
    expiresAt,
  });
  return secret;
}

/** Registers a service with a key and a secret. */
export async function addService(
  authority: TestAuthority,
  id: string,
  options: { readonly roles?: readonly string[]; readonly limitedToLabel?: Label } = {},
): Promise<TestService> {
  const clientId = parseClientId(id);
  const key = generateKey();
  const { roles = [], limitedToLabel } = options;
  await authority.registry.createClient({
    id: clientId,
    kind: 'service',
    roles: roles.map((role) => parseRoleName(role)),
    labels: new Map(),
    key: key.publicKey,
    limitedToLabel,
  });
  const secret = await addSecret(authority, clientId);
  const { issuer, clock } = authority;
  return {
    clientId,
    secret,
    key,
    basic: basic(clientId, secret),
    assertion: async (more = {}) => ({
      client_assertion_type: CLIENT_ASSERTION_TYPE,
      client_assertion: await signAssertion(createKeySigner(key), {
        clientId,
        issuer,
        now: clock.now(),
        use: 'client-authentication',
        ...more,
      }),
    }),
  };
}
