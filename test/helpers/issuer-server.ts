/**
 * An issuer over real HTTP for tests of the broker plugin alone: metadata and keys on a free port,
 * counted, failing or silent on demand, and tokens signed with the real key.
 *
 * @module
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import {
  type AccessTokenClaims,
  type ClientId,
  type Clock,
  createKeySigner,
  generateKey,
  type Issuer,
  type PrivateKey,
  parseIssuer,
  parseResourceId,
  signAccessToken,
} from '@latchkey/shared';
import { onTestFinished } from 'vitest';

export const BROKER = parseResourceId('mqtts://broker.example');

export interface TokenRequest extends Partial<Omit<AccessTokenClaims, 'clientId'>> {
  readonly clientId?: string;
  readonly ttlSeconds?: number;
  readonly key?: PrivateKey;
}

export interface IssuerServer {
  readonly issuer: Issuer;
  readonly key: PrivateKey;
  /** Members of the key set. */
  keys: object[];
  /** How often the key set was asked for. */
  readonly fetches: number;
  /** Answers in place of the usual one when it returns true. */
  answer: (path: string, response: ServerResponse) => boolean;
  /** A token of `t-42` for `BROKER`, good for 900 s, unless told otherwise. */
  token(request?: TokenRequest): Promise<string>;
}

/** With a certificate of `localhost` it is an `https` issuer of that name. */
export async function startIssuer(
  clock: Clock,
  certificate?: { readonly cert: string; readonly key: string },
): Promise<IssuerServer> {
  const key = generateKey();
  let fetches = 0;
  const handle: RequestListener = (request, response) => {
    const path = request.url ?? '';
    if (path === '/jwks') fetches += 1;
    if (self.answer(path, response)) return;
    if (path === '/jwks') response.end(JSON.stringify({ keys: self.keys }));
    else if (path === '/.well-known/oauth-authorization-server') {
      const { issuer } = self;
      const endpoints = { token_endpoint: `${issuer}/token`, jwks_uri: `${issuer}/jwks` };
      response.end(JSON.stringify({ issuer, ...endpoints }));
    } else response.writeHead(404).end();
  };
  const server = certificate ? createTlsServer(certificate, handle) : createServer(handle);
  const origin = certificate ? 'https://localhost' : 'http://127.0.0.1';
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  const self = {
    issuer: parseIssuer(`${origin}:${(server.address() as AddressInfo).port}`),
    key,
    keys: [{ ...key.publicKey.jwk, kid: key.publicKey.kid }] as object[],
    get fetches() {
      return fetches;
    },
    answer: (_path: string, _response: ServerResponse) => false,
    token: ({
      clientId = 't-42',
      ttlSeconds = 900,
      key: signing = key,
      ...claims
    }: TokenRequest = {}) =>
      signAccessToken(createKeySigner(signing), {
        issuer: self.issuer,
        clientId: clientId as ClientId,
        audience: BROKER,
        issuedAt: clock.now(),
        expiresAt: clock.now() + ttlSeconds,
        jti: randomBytes(16).toString('base64url'),
        scope: 'pub:devices/t-42/# sub:devices/t-42/#',
        ...claims,
      }),
  };
  return self;
}
