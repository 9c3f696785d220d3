/**
 * An authority that enrolls everybody and answers at once with a token for a day, so that what is measured
 * is the agent.
 *
 * @module
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { type Issuer, importPublicJwk, newEnrollmentCode, parseIssuer } from '@latchkey/shared';

const TOKEN = {
  access_token: 't'.repeat(600), // about as long as one with ten scopes
  token_type: 'Bearer',
  expires_in: 86_400,
  scope: 'pubsub:devices/%23',
};

export interface Authority {
  readonly issuer: Issuer;
  /** Enrolls anybody. */
  readonly code: string;
  close(): void;
}

export async function startAuthority(): Promise<Authority> {
  const answerTo = (url: string | undefined, body: string): readonly [number, object] => {
    if (url === '/token') return [200, TOKEN];
    if (url === '/enroll') {
      const { client_id, public_key } = JSON.parse(body) as Record<string, unknown>;
      return [201, { issuer, client_id, kid: importPublicJwk(public_key).kid }];
    }
    return [
      200,
      {
        issuer,
        token_endpoint: `${issuer}/token`,
        jwks_uri: `${issuer}/jwks`,
        enrollment_endpoint: `${issuer}/enroll`,
      },
    ];
  };
  const server = createServer((request, response) => {
    text(request)
      .then((body) => {
        const [status, answer] = answerTo(request.url, body);
        response.writeHead(status, { 'content-type': 'application/json' });
        response.end(JSON.stringify(answer));
      })
      .catch(() => response.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const issuer = parseIssuer(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  return {
    issuer,
    code: newEnrollmentCode(),
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
