/**
 * Pages of the trust feed on the wire: compact CBOR arrays in a COSE_Sign1.
 *
 * Units   NumericDate; sizes in bytes.
 * Errors  `CoseError` for a bad signature or encoding; `FeedError` (`malformed`) for a page whose
 *         signature is good and whose content is not.
 * Source  DESIGN 4 (Trust feed); RFC 9052, RFC 9596.
 *
 * @module
 */
import * as v from 'valibot';
import { type CborValue, decodeCbor, encodeCbor } from './cbor.js';
import { parsedBy } from './config.js';
import { signCose, verifyCose } from './cose.js';
import { FormatError } from './errors.js';
import { parseClientId, parseIssuer, parseResourceId } from './ids.js';
import { type IssuerKey, importIssuerJwk } from './issuer-keys.js';
import type { VerifyingKey } from './jwt.js';
import { type PublicJwk, thumbprint } from './keys.js';
import { MAX_SCOPE_LENGTH } from './scope.js';
import type { TokenSigner } from './signer.js';
import type { NumericDate } from './time.js';
import { TOKEN_ALGORITHMS } from './token-algorithms.js';
import {
  FEED_CLIENT_KINDS,
  FEED_CLIENT_STATUSES,
  type FeedClient,
  FeedError,
  type FeedKey,
  type FeedPage,
} from './trust-feed.js';

export const FEED_MEDIA_TYPE = 'application/cose; cose-type="cose-sign1"';
const TYPE = 'application/latchkey-feed+cbor';
const VERSION = 1;

/** Bounds of one page. */
export const MAX_FEED_PAGE_BYTES: number = 8 * 1024 * 1024;
export const MAX_FEED_PAGE_CLIENTS = 1000;
export const MAX_FEED_CLIENT_KEYS = 64;
const MAX_ISSUER_KEYS = 64;
const MAX_INSTANT = 253_402_300_799;

const KINDS = ['snapshot', 'changes'] as const;

/** An option by its place in a list that only ever grows at its end. */
function oneOf<const Option extends string>(
  options: readonly Option[],
): v.GenericSchema<unknown, Option> {
  return v.pipe(
    v.number(),
    v.check((index) => index in options, 'must be a known option'),
    v.transform((index) => options[index] as Option),
  );
}

const integer = v.pipe(v.number(), v.minValue(0));
const instant = v.pipe(integer, v.maxValue(MAX_INSTANT));
const instantOrNull = v.pipe(
  v.nullable(instant),
  v.transform((at): NumericDate | undefined => at ?? undefined),
);
const bytes = v.instance(Uint8Array);
const base64url = (value: Uint8Array) => Buffer.from(value).toString('base64url');

const clientKey = v.pipe(
  v.strictTuple([v.pipe(bytes, v.length(32)), instantOrNull, instantOrNull]),
  v.transform(([x, notBefore, expiresAt]): FeedKey => {
    const jwk: PublicJwk = { kty: 'OKP', crv: 'Ed25519', x: base64url(x) };
    return { kid: thumbprint(jwk), jwk, notBefore, expiresAt };
  }),
);

const client = v.pipe(
  v.strictTuple([
    v.pipe(v.string(), parsedBy(parseClientId)),
    oneOf(FEED_CLIENT_KINDS),
    oneOf(FEED_CLIENT_STATUSES),
    v.boolean(),
    instant,
    v.pipe(v.array(clientKey), v.maxLength(MAX_FEED_CLIENT_KEYS)),
    v.pipe(v.string(), v.maxLength(MAX_SCOPE_LENGTH)),
  ]),
  v.transform(
    ([id, kind, status, mayMint, tokensNotBefore, keys, scope]): FeedClient => ({
      ...{ id, kind, status, mayMint, tokensNotBefore, keys, scope },
    }),
  ),
);

/** Algorithm, then the members of the JWK in the order of their names, as RFC 7638 has them. */
const issuerKey = v.pipe(
  v.strictTuple([oneOf(TOKEN_ALGORITHMS), v.array(v.string())]),
  v.rawTransform(({ dataset, addIssue, NEVER }): IssuerKey => {
    const [alg, members] = dataset.value;
    const names = ALG_MEMBERS[alg];
    const jwk = Object.fromEntries(names.map((name, index) => [name, members[index]]));
    try {
      if (members.length !== names.length) throw new FormatError('jwk', 'has other members');
      return importIssuerJwk(alg, jwk);
    } catch (error) {
      addIssue({ message: (error as FormatError).problem });
      return NEVER;
    }
  }),
);

const OKP_MEMBERS = ['crv', 'kty', 'x'] as const;
const ALG_MEMBERS = {
  EdDSA: OKP_MEMBERS,
  Ed25519: OKP_MEMBERS,
  ES256: ['crv', 'kty', 'x', 'y'],
  RS256: ['e', 'kty', 'n'],
} as const;

const page = v.strictTuple([
  v.literal(VERSION),
  v.pipe(v.string(), parsedBy(parseIssuer)),
  v.pipe(v.string(), parsedBy(parseResourceId)),
  v.pipe(v.string(), v.regex(/^[\x21-\x7e]{1,64}$/)),
  oneOf(KINDS),
  integer,
  integer,
  v.pipe(v.string(), v.maxLength(64)),
  v.boolean(),
  instant,
  v.pipe(v.string(), v.maxLength(128)),
  v.pipe(v.array(issuerKey), v.maxLength(MAX_ISSUER_KEYS)),
  v.pipe(v.array(client), v.maxLength(MAX_FEED_PAGE_CLIENTS)),
]);
type Content = v.InferOutput<typeof page>;

/** What the parts must be to each other. */
function problemOf({ kind, from, to, afterId, hasMore, clients }: FeedPage): string | undefined {
  if (to < from) return 'the page leads backwards';
  if (kind === 'snapshot') {
    if (from !== 0) return 'a snapshot begins at 0';
    if (hasMore && clients.length === 0) return 'an empty page promises more';
    const isInOrder = clients.every(({ id }, i) => id > (clients[i - 1]?.id ?? afterId));
    if (!isInOrder) return 'the clients are not in order';
    return clients.some(({ status }) => status === 'deleted') ? 'a client is deleted' : undefined;
  }
  if (afterId !== '') return 'changes do not follow an id';
  // Else a reader could be kept busy for ever.
  if (to === from && (hasMore || clients.length > 0)) return 'the page does not lead on';
  return new Set(clients.map(({ id }) => id)).size < clients.length
    ? 'a client is repeated'
    : undefined;
}

function toPage(content: Content): FeedPage {
  const [, issuer, resource, feedId, kind, from, to, afterId, hasMore, issuedAt, nonce, ...lists] =
    content;
  const [issuerKeys, clients] = lists;
  return {
    ...{ issuer, resource, feedId, kind, from, to, afterId, hasMore, issuedAt, nonce },
    ...{ issuerKeys, clients },
  };
}

function encodeClient(value: FeedClient): CborValue {
  const { id, kind, status, mayMint, tokensNotBefore, keys, scope } = value;
  return [
    id,
    FEED_CLIENT_KINDS.indexOf(kind),
    FEED_CLIENT_STATUSES.indexOf(status),
    mayMint,
    tokensNotBefore,
    keys.map(({ jwk, notBefore, expiresAt }) => [
      Buffer.from(jwk.x, 'base64url'),
      notBefore ?? null,
      expiresAt ?? null,
    ]),
    scope,
  ];
}

function encodeIssuerKey({ alg, jwk }: IssuerKey): CborValue {
  const members: Readonly<Record<string, string>> = { ...jwk };
  return [TOKEN_ALGORITHMS.indexOf(alg), ALG_MEMBERS[alg].map((name) => members[name] as string)];
}

/** Encodes and signs a page, with a key that its readers can find. */
export function signFeedPage(signer: TokenSigner, content: FeedPage): Promise<Buffer> {
  const payload = encodeCbor([
    VERSION,
    content.issuer,
    content.resource,
    content.feedId,
    KINDS.indexOf(content.kind),
    content.from,
    content.to,
    content.afterId,
    content.hasMore,
    content.issuedAt,
    content.nonce,
    content.issuerKeys.map(encodeIssuerKey),
    content.clients.map(encodeClient),
  ]);
  return signCose(signer, TYPE, payload);
}

/**
 * Verifies the signature, then decodes and checks the content. `findKey` knows the keys of the issuer
 * that the reader trusts; one that it does not know it may fetch from the issuer's JWKS over TLS.
 */
export async function verifyFeedPage(
  message: Uint8Array,
  findKey: (kid: string) => VerifyingKey | undefined | Promise<VerifyingKey | undefined>,
): Promise<FeedPage> {
  if (message.length > MAX_FEED_PAGE_BYTES) {
    throw new FeedError('malformed', `the page is larger than ${MAX_FEED_PAGE_BYTES} bytes`);
  }
  const payload = await verifyCose(message, TYPE, findKey);
  let content: unknown;
  try {
    content = decodeCbor(payload);
  } catch (error) {
    throw new FeedError('malformed', `the payload ${(error as Error).message}`);
  }
  const result = v.safeParse(page, content, { abortEarly: true });
  if (!result.success) {
    const path = v.getDotPath(result.issues[0]) ?? '';
    throw new FeedError('malformed', `the payload is not a page: ${path}`);
  }
  const decoded = toPage(result.output);
  const problem = problemOf(decoded);
  if (problem !== undefined) throw new FeedError('malformed', problem);
  return decoded;
}
