/**
 * A small authority over real HTTP for tests of the agent alone: metadata, enrollment and opaque tokens,
 * with the proof and the assertion checked as the standards say, and failures on demand.
 *
 * @module
 */
import { once } from 'node:events';
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type ServerResponse,
} from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import {
  type ClientId,
  type Clock,
  type Issuer,
  importPublicJwk,
  newEnrollmentCode,
  type PublicKey,
  parseIssuer,
  verifyEnrollmentProof,
} from '@latchkey/shared';
import { onTestFinished } from 'vitest';

export interface IssuedToken {
  readonly text: string;
  readonly expiresAt: number;
  readonly resource: string | null;
  readonly scope: string | null;
}

export interface TokenServer {
  readonly issuer: Issuer;
  /** A code that enrolls anybody. */
  readonly code: string;
  readonly requests: readonly string[];
  readonly issued: readonly IssuedToken[];
  readonly assertions: readonly string[];
  readonly enrolled: ReadonlyMap<string, PublicKey>;
  /** Answers in place of the usual one; `undefined` from it means the usual one. */
  answer: (path: string, response: ServerResponse) => boolean;
  ttlSeconds: number;
  /** Granted when none is asked for. Default: none, and so the agent leaves every decision to the broker. */
  scope: string;
  mayMint: boolean;
  /** How far its clock is ahead of the one that it was started with. */
  aheadSeconds: number;
  /** From the next connection on. Only of an `https` issuer. */
  setCertificate(certificate: { readonly cert: string; readonly key: string }): void;
  /** Stops answering at all: connections are refused. */
  stop(): Promise<void>;
  /** Listens again on the same port. */
  start(): Promise<void>;
}

/** With a certificate of `localhost` it is an `https` issuer of that name. */
export async function startTokenServer(
  clock: Clock,
  certificate?: { readonly cert: string; readonly key: string },
): Promise<TokenServer> {
  const requests: string[] = [];
  const issued: IssuedToken[] = [];
  const assertions: string[] = [];
  const enrolled = new Map<string, PublicKey>();
  const code = newEnrollmentCode();

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const path = request.url ?? '';
    const body = await text(request);
    requests.push(`${request.method} ${path}`);
    const nowMs = clock.nowMs() + self.aheadSeconds * 1000;
    response.setHeader('date', new Date(nowMs).toUTCString());
    if (self.answer(path, response)) return;
    const send = (status: number, value: object): void => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(value));
    };
    if (path === '/.well-known/oauth-authorization-server') {
      send(200, {
        issuer: self.issuer,
        token_endpoint: `${self.issuer}/token`,
        jwks_uri: `${self.issuer}/jwks`,
        enrollment_endpoint: `${self.issuer}/enroll`,
      });
    } else if (path === '/enroll') {
      const { enrollment_code, client_id, public_key, proof } = JSON.parse(body);
      const key = importPublicJwk(public_key);
      await verifyEnrollmentProof(proof, key, {
        issuer: self.issuer,
        clientId: client_id as ClientId,
        enrollmentCode: enrollment_code,
        now: Math.floor(nowMs / 1000),
      });
      if (enrollment_code !== code) return send(400, { error: 'invalid_grant' });
      enrolled.set(client_id, key);
      send(201, { client_id, kid: key.kid, issuer: self.issuer });
    } else if (path === '/token') {
      const form = new URLSearchParams(body);
      assertions.push(form.get('assertion') ?? '');
      const token = {
        text: `secret-token-${issued.length + 1}-${'x'.repeat(40)}`,
        expiresAt: Math.floor(nowMs / 1000) + self.ttlSeconds,
        resource: form.get('resource'),
        scope: form.get('scope'),
      };
      issued.push(token);
      send(200, {
        access_token: token.text,
        token_type: 'Bearer',
        expires_in: self.ttlSeconds,
        scope: token.scope ?? self.scope,
        ...(self.mayMint && { may_mint: true }),
      });
    } else send(404, { error: 'not_found' });
  };

  const listener: RequestListener = (request, response) => {
    handle(request, response).catch(() => response.destroy());
  };
  const server = certificate ? createTlsServer(certificate, listener) : createServer(listener);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;

  const self: TokenServer = {
    issuer: parseIssuer(certificate ? `https://localhost:${port}` : `http://127.0.0.1:${port}`),
    code,
    requests,
    issued,
    assertions,
    enrolled,
    answer: () => false,
    ttlSeconds: 900,
    scope: '',
    mayMint: false,
    aheadSeconds: 0,
    setCertificate: (next) => (server as TlsServer).setSecureContext(next),
    stop: async () => {
      if (!server.listening) return;
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
    start: async () => {
      server.listen(port, '127.0.0.1');
      await once(server, 'listening');
    },
  };
  onTestFinished(() => self.stop());
  return self;
}
