/**
 * Verifying access tokens: our full verifier against `jose.jwtVerify` alone and against what can be
 * written by hand on node:crypto. All check signature, issuer, audience, type and expiry; ours also
 * refuses what STANDARDS 3.10 lists, and parses the scope.
 *
 * Units   tokens per second.
 *
 * @module
 */
import { type KeyObject, verify } from 'node:crypto';
import { promisify } from 'node:util';
import {
  type ClientId,
  createKeySigner,
  generateKey,
  newJti,
  parseClientId,
  parseIssuer,
  parseResourceId,
  signAccessToken,
  verifyAccessToken,
} from '@latchkey/shared';
import { importJWK, jwtVerify } from 'jose';
import { type Comparison, rateOf } from '../harness.ts';

const TOKENS = 256;
const AT_ONCE = 64;
const NOW = 1_760_000_000;
const ISSUER = parseIssuer('https://id.example');
const AUDIENCE = parseResourceId('mqtts://broker.example');

type Verify = (token: string) => Promise<unknown>;

/** Verifies the tokens given, so many at a time, each in a string that was never seen before. */
function rate(tokens: readonly Buffer[], atOnce: number, verifyOne: Verify): () => Promise<number> {
  return rateOf(async () => {
    const texts = tokens.map((token) => token.toString('latin1'));
    const begin = performance.now();
    if (atOnce === 1) for (const text of texts) await verifyOne(text);
    else {
      for (let from = 0; from < texts.length; from += atOnce) {
        await Promise.all(texts.slice(from, from + atOnce).map(verifyOne));
      }
    }
    return { operations: texts.length, ms: performance.now() - begin };
  });
}

interface Claims {
  readonly iss: unknown;
  readonly aud: unknown;
  readonly exp: unknown;
}

/** The least that is a verification at all: one header spelling, three claims. */
function readByHand(token: string): { input: Buffer; signature: Buffer } {
  const dot = token.lastIndexOf('.');
  const [header, payload] = token.slice(0, dot).split('.') as [string, string];
  const { alg, typ } = JSON.parse(Buffer.from(header, 'base64url').toString()) as Record<
    string,
    unknown
  >;
  const { iss, aud, exp } = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Claims;
  const isGood =
    alg === 'EdDSA' && typ === 'at+jwt' && iss === ISSUER && aud === AUDIENCE && Number(exp) > NOW;
  if (!isGood) throw new Error('refused');
  return {
    input: Buffer.from(token.slice(0, dot)),
    signature: Buffer.from(token.slice(dot + 1), 'base64url'),
  };
}

const verifyInThreadPool = promisify(verify);

function byHand(key: KeyObject): Verify {
  return async (token) => {
    const { input, signature } = readByHand(token);
    if (!verify(null, input, key, signature)) throw new Error('refused');
  };
}

function byHandInThreadPool(key: KeyObject): Verify {
  return async (token) => {
    const { input, signature } = readByHand(token);
    if (!(await verifyInThreadPool(null, input, key, signature))) throw new Error('refused');
  };
}

async function mustRefuse(verifyOne: Verify, token: string): Promise<void> {
  const accepted = await verifyOne(token).then(
    () => true,
    () => false,
  );
  if (accepted) throw new Error('a contender accepts a forged token');
}

export async function tokenComparison(): Promise<Comparison> {
  const key = generateKey();
  const signer = createKeySigner(key);
  const tokenOf = async (clientId: ClientId) =>
    signAccessToken(signer, {
      issuer: ISSUER,
      clientId,
      audience: AUDIENCE,
      issuedAt: NOW,
      expiresAt: NOW + 900,
      jti: newJti(),
      scope: `pub:devices/${clientId}/telemetry/# sub:devices/${clientId}/commands/+`,
    });
  const clientIds = Array.from({ length: TOKENS }, (_, i) => parseClientId(`thermostat-${i}`));
  const tokens = await Promise.all(
    clientIds.map(async (clientId) => Buffer.from(await tokenOf(clientId))),
  );

  const cryptoKey = await importJWK({ ...key.publicKey.jwk }, 'EdDSA');
  const byJose: Verify = (token) =>
    jwtVerify(token, cryptoKey, {
      issuer: ISSUER,
      audience: AUDIENCE,
      typ: 'at+jwt',
      algorithms: ['EdDSA', 'Ed25519'],
      requiredClaims: ['exp', 'iat', 'jti', 'sub', 'client_id'],
      currentDate: new Date(NOW * 1000),
    });
  const keys = new Map<string | undefined, typeof key.publicKey>([
    [key.publicKey.kid, key.publicKey],
  ]);
  const byUs: Verify = (token) =>
    verifyAccessToken(token, {
      issuer: ISSUER,
      audience: AUDIENCE,
      now: NOW,
      findKey: (kid) => keys.get(kid),
    });
  const { keyObject } = key.publicKey;
  const forged = tokens[0]?.toString().replace(/.{5}$/, 'AAAAA') as string;
  for (const contender of [byJose, byUs, byHand(keyObject), byHandInThreadPool(keyObject)]) {
    await mustRefuse(contender, forged);
  }

  const one = (verifyOne: Verify) => rate(tokens, 1, verifyOne);
  const many = (verifyOne: Verify) => rate(tokens, AT_ONCE, verifyOne);
  const [joseOne, joseMany] = ['jose.jwtVerify, 1 at a time', `jose.jwtVerify, ${AT_ONCE} at once`];
  const [ourOne, ourMany] = [
    'verifyAccessToken, 1 at a time',
    `verifyAccessToken, ${AT_ONCE} at once`,
  ];
  return {
    name: `Verifying access tokens of ${tokens[0]?.length} bytes`,
    unit: 'tokens/s',
    contenders: [
      { name: joseOne, sample: one(byJose) },
      { name: ourOne, base: joseOne, sample: one(byUs) },
      { name: 'by hand, sync', base: joseOne, sample: one(byHand(keyObject)) },
      { name: joseMany, sample: many(byJose) },
      { name: ourMany, base: joseMany, sample: many(byUs) },
      {
        name: `by hand, thread pool, ${AT_ONCE} at once`,
        base: joseMany,
        sample: many(byHandInThreadPool(keyObject)),
      },
    ],
    targets: [
      { contender: ourOne, base: joseOne, atLeast: 0.9 },
      { contender: ourMany, base: joseMany, atLeast: 0.9 },
    ],
  };
}
