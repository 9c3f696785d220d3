/**
 * Another authorization server over real HTTP: metadata where a test wants them, one key for each
 * algorithm, and tokens of any shape.
 *
 * @module
 */
import {
  constants,
  createHmac,
  createPrivateKey,
  generateKeyPairSync,
  type JsonWebKey,
  type KeyObject,
  sign,
} from 'node:crypto';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Clock, VerifyingAlgorithm } from '@latchkey/shared';
import { onTestFinished } from 'vitest';
import { BROKER } from './issuer-server.ts';
import type { Part } from './jwts.ts';

export interface ThirdPartyKey {
  readonly kid: string;
  readonly privateKey: KeyObject;
  /** As published, `kid` and `alg` included. */
  readonly jwk: JsonWebKey & { readonly kid: string };
}

function encoded(part: Part): string {
  if (part instanceof Uint8Array) return Buffer.from(part).toString('base64url');
  return Buffer.from(typeof part === 'string' ? part : JSON.stringify(part)).toString('base64url');
}

const TYPES: Readonly<Record<VerifyingAlgorithm, string>> = {
  ...{ EdDSA: 'ed25519', Ed25519: 'ed25519', ES256: 'ec', ES384: 'ec', RS256: 'rsa', PS256: 'rsa' },
};

/** Through PEM, because exporting a fresh key as JWK can hang Node 20 (STANDARDS 3.9). */
export function makeKey(alg: VerifyingAlgorithm, kid: string): ThirdPartyKey {
  const type = TYPES[alg];
  const { privateKey: pem } = generateKeyPairSync(type as 'rsa', {
    ...{ modulusLength: 2048, namedCurve: alg === 'ES384' ? 'P-384' : 'P-256' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  const privateKey = createPrivateKey(pem);
  const { kty, crv, x, y, n, e } = privateKey.export({ format: 'jwk' });
  const members = Object.entries({ kty, crv, x, y, n, e }).filter(
    ([, value]) => value !== undefined,
  );
  return { kid, privateKey, jwk: { ...Object.fromEntries(members), kid, alg, use: 'sig' } };
}

/** RSA keys take a while to make, so each algorithm has one for all tests of a file. */
const KEYS = new Map<VerifyingAlgorithm, ThirdPartyKey>();
function keyFor(alg: VerifyingAlgorithm): ThirdPartyKey {
  const key = KEYS.get(alg) ?? makeKey(alg, `key-${alg}`);
  KEYS.set(alg, key);
  return key;
}

export function signatureOf(alg: string, input: string, key: KeyObject | Uint8Array): Buffer {
  const data = Buffer.from(input);
  if (key instanceof Uint8Array) return createHmac('sha256', key).update(data).digest();
  if (alg === 'PS256') {
    const padding = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 };
    return sign('sha256', data, { key, ...padding });
  }
  const digest = alg === 'ES384' ? 'sha384' : 'sha256';
  const isEdwards = key.asymmetricKeyType === 'ed25519';
  return sign(isEdwards ? null : digest, data, { key, dsaEncoding: 'ieee-p1363' });
}

export interface TokenShape {
  /** Changed claims; `undefined` takes one away. */
  readonly claims?: object;
  /** Changed members of the header; `undefined` takes one away. */
  readonly header?: object;
  readonly alg?: VerifyingAlgorithm;
  /** Signs in place of the key of `alg`; bytes make a MAC. */
  readonly key?: KeyObject | Uint8Array;
}

export interface ThirdPartyServer {
  readonly issuer: string;
  keys: readonly object[];
  /** How often the key set was asked for. */
  readonly fetches: number;
  readonly requests: readonly string[];
  /** Answers in place of the usual one when it returns true. */
  answer: (path: string, response: ServerResponse) => boolean;
  /** A token of the client `t-42` for `BROKER`, scope `telemetry`, good for 900 s. */
  token(shape?: TokenShape): string;
  keyFor(alg: VerifyingAlgorithm): ThirdPartyKey;
}

export async function startThirdParty(
  clock: Pick<Clock, 'now'>,
  {
    path = '',
    algorithms = ['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA'],
    metadata = 'openid',
  }: {
    /** Of the issuer, behind host and port; `/` is a slash at the end. */
    readonly path?: string;
    readonly algorithms?: readonly VerifyingAlgorithm[];
    /** RFC 8414, or OpenID Connect Discovery. */
    readonly metadata?: 'oauth' | 'openid';
  } = {},
): Promise<ThirdPartyServer> {
  const requests: string[] = [];
  const base = path.replace(/\/$/, '');
  const metadataPath =
    metadata === 'openid'
      ? `${base}/.well-known/openid-configuration`
      : `/.well-known/oauth-authorization-server${base}`;
  const server = createServer((request, response) => {
    const asked = request.url ?? '';
    requests.push(asked);
    if (self.answer(asked, response)) return;
    if (asked === `${base}/keys`) response.end(JSON.stringify({ keys: self.keys }));
    else if (asked === metadataPath) {
      const origin = new URL(self.issuer).origin;
      response.end(JSON.stringify({ issuer: self.issuer, jwks_uri: `${origin}${base}/keys` }));
    } else response.writeHead(404).end('not here');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  const self: ThirdPartyServer = {
    issuer: `http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`,
    keys: algorithms.map((alg) => keyFor(alg).jwk),
    requests,
    get fetches() {
      return requests.filter((asked) => asked === `${base}/keys`).length;
    },
    answer: () => false,
    keyFor,
    token: ({ claims = {}, header = {}, alg = 'RS256', key }: TokenShape = {}) => {
      const { kid, privateKey } = keyFor(alg);
      const input = [
        encoded({ alg, typ: 'at+jwt', kid, ...header }),
        encoded({
          ...{ iss: self.issuer, sub: 't-42', client_id: 't-42', aud: BROKER, scope: 'telemetry' },
          ...{ iat: clock.now(), exp: clock.now() + 900, jti: '1' },
          ...claims,
        }),
      ].join('.');
      return `${input}.${signatureOf(alg, input, key ?? privateKey).toString('base64url')}`;
    },
  };
  return self;
}
