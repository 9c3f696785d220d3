/**
 * Tokens between two runs: `tokens.json`, mode 0600. Losing it costs one request, nothing else.
 *
 * Units   NumericDate.
 * Errors  `UsageError` when others may read the file; a file that cannot be understood counts as empty.
 * Source  DESIGN 7; invariant I11 (every cache is bounded).
 *
 * @module
 */
import type { Logger, NumericDate } from '@latchkey/shared';
import * as v from 'valibot';
import { readPrivateFile, stateFile, writePrivateFile } from './private-file.js';
import { isUsable } from './renewal.js';
import type { AccessToken, TokenPurpose } from './token-source.js';

/** One for the broker, and those that apps on the device ask for. */
const MAX_TOKENS = 32;

export interface TokenCache {
  /** The token if it may still be presented at `now`. */
  get(purpose: TokenPurpose, now: NumericDate): AccessToken | undefined;
  /** The last token that was not refused, expired or not. */
  last(purpose: TokenPurpose): AccessToken | undefined;
  put(purpose: TokenPurpose, token: AccessToken): Promise<void>;
  remove(token: AccessToken): Promise<void>;
}

const fileSchema = v.object({
  tokens: v.array(
    v.object({
      resource: v.nullable(v.string()),
      asked_scope: v.nullable(v.string()),
      access_token: v.pipe(v.string(), v.minLength(1)),
      issued_at: v.pipe(v.number(), v.safeInteger()),
      expires_at: v.pipe(v.number(), v.safeInteger()),
      scope: v.string(),
      may_mint: v.optional(v.boolean(), false),
    }),
  ),
});

const keyOf = (resource: string | null, scope: string | null): string =>
  JSON.stringify([resource, scope]);
const keyOfPurpose = ({ resource, scope }: TokenPurpose): string =>
  keyOf(resource ?? null, scope ?? null);

function parseFile(text: string | undefined): Map<string, AccessToken> {
  let value: unknown;
  try {
    value = JSON.parse(text ?? '{}');
  } catch {
    return new Map();
  }
  const result = v.safeParse(fileSchema, value);
  if (!result.success) return new Map();
  return new Map(
    result.output.tokens.slice(0, MAX_TOKENS).map((entry) => [
      keyOf(entry.resource, entry.asked_scope),
      {
        accessToken: entry.access_token,
        issuedAt: entry.issued_at,
        expiresAt: entry.expires_at,
        scope: entry.scope,
        mayMint: entry.may_mint,
      },
    ]),
  );
}

function formatFile(tokens: ReadonlyMap<string, AccessToken>): string {
  const entries = [...tokens].map(([key, token]) => {
    const [resource, askedScope]: unknown[] = JSON.parse(key);
    return {
      resource,
      asked_scope: askedScope,
      access_token: token.accessToken,
      issued_at: token.issuedAt,
      expires_at: token.expiresAt,
      scope: token.scope,
      may_mint: token.mayMint,
    };
  });
  return `${JSON.stringify({ tokens: entries })}\n`;
}

/** A full disk must not keep a device off the broker: a token is good without its copy. */
export async function orLogged(change: Promise<void>, logger: Logger): Promise<void> {
  try {
    await change;
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    logger.warn({ event: 'token.not-cached', detail }, 'the token cache cannot be written');
  }
}

function createTokenCache(tokens: Map<string, AccessToken>, save: () => Promise<void>): TokenCache {
  return {
    get: (purpose, now) => {
      const token = tokens.get(keyOfPurpose(purpose));
      return token !== undefined && isUsable(token, now) ? token : undefined;
    },
    last: (purpose) => tokens.get(keyOfPurpose(purpose)),
    put: async (purpose, token) => {
      const key = keyOfPurpose(purpose);
      tokens.delete(key);
      tokens.set(key, token);
      for (const oldest of tokens.keys()) {
        if (tokens.size <= MAX_TOKENS) break;
        tokens.delete(oldest);
      }
      await save();
    },
    remove: async (token) => {
      for (const [key, held] of tokens) {
        if (held.accessToken === token.accessToken) tokens.delete(key);
      }
      await save();
    },
  };
}

/** Tokens of this run alone, that no file holds: those that programs on the device ask for. */
export function createMemoryTokenCache(): TokenCache {
  return createTokenCache(new Map(), async () => undefined);
}

export async function openTokenCache(stateDir: string): Promise<TokenCache> {
  const path = stateFile(stateDir, 'tokens');
  const tokens = parseFile(await readPrivateFile(path));
  // One write at a time: each writes the map as it is by then.
  let lastWrite: Promise<void> = Promise.resolve();
  return createTokenCache(tokens, () => {
    const write = lastWrite.then(() => writePrivateFile(path, formatFile(tokens)));
    lastWrite = write.catch(() => undefined);
    return write;
  });
}
