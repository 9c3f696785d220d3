/**
 * `POST /token` `{resource, scope}`: an access token for another resource than the broker.
 *
 * Kept in memory until shortly before it expires, apart from the broker's, so that no program can push that
 * one out. A refusal is remembered for a while: a program that asks again and again does not reach
 * the authority. The broker's own token is given to nobody: who has it is this device.
 *
 * Units   milliseconds, NumericDate.
 * Errors  `RequestError`; the answer says nothing of the token but itself.
 * Source  RFC 6749 5.1 and 5.2; RFC 8707 2; invariants I1 and I11.
 *
 * @module
 */
import {
  type Clock,
  FormatError,
  parsedBy,
  parseResourceId,
  parseScope,
  type ResourceId,
  TokenRequestError,
  UnreachableError,
} from '@latchkey/shared';
import * as v from 'valibot';
import type { TokenSource } from '../token-source.js';
import { type Answer, parseValue, refusal } from './answer.js';
import { mayAskFor, type Rules } from './rules.js';

/** A refusal holds this long; the operator may have changed the rights. */
const REFUSED_MS = 30_000;
const UNREACHABLE_MS = 2000;
const MAX_FAILURES = 64;
/** Requests to the authority at once. */
const MAX_UNDERWAY = 8;

const bodySchema = v.strictObject({
  resource: v.pipe(
    v.string(),
    parsedBy((value) => parseResourceId(value)),
  ),
  scope: v.optional(
    v.pipe(
      v.string(),
      v.minLength(1, 'must not be empty'),
      v.maxLength(4096, 'must not exceed 4096 characters'),
    ),
  ),
});

export interface TokenDesk {
  answer(body: unknown, rules: Rules): Promise<Answer>;
}

export function createTokenDesk(deps: {
  readonly tokens: Pick<TokenSource, 'get'>;
  /** Of the present configuration. */
  readonly brokerResource: () => ResourceId;
  readonly clock: Clock;
}): TokenDesk {
  const { tokens, brokerResource, clock } = deps;
  const failures = new Map<string, { readonly untilMs: number; readonly answer: Answer }>();
  let underway = 0;

  const failed = (key: string, answer: Answer, forMs: number): Answer => {
    failures.delete(key);
    failures.set(key, { untilMs: clock.nowMs() + forMs, answer });
    for (const oldest of failures.keys()) {
      if (failures.size <= MAX_FAILURES) break;
      failures.delete(oldest);
    }
    return answer;
  };

  const unavailable = (description: string): Answer => ({
    ...refusal(503, 'temporarily_unavailable', description),
    headers: { 'retry-after': String(UNREACHABLE_MS / 1000) },
  });

  const obtain = async (resource: ResourceId, scope: string | undefined): Promise<Answer> => {
    const key = JSON.stringify([resource, scope ?? null]);
    const failure = failures.get(key);
    // A clock that was set back must not make a refusal last.
    const leftMs = failure === undefined ? 0 : failure.untilMs - clock.nowMs();
    if (failure !== undefined && leftMs > 0 && leftMs <= REFUSED_MS) return failure.answer;
    if (underway >= MAX_UNDERWAY) return unavailable('too many programs ask for tokens');
    underway += 1;
    try {
      const token = await tokens.get({ resource, scope });
      failures.delete(key);
      return {
        status: 200,
        headers: { 'cache-control': 'no-store' }, // RFC 6749 5.1
        body: {
          access_token: token.accessToken,
          token_type: 'Bearer',
          expires_in: Math.max(0, token.expiresAt - clock.now()),
          expires_at: token.expiresAt,
          scope: token.scope,
        },
      };
    } catch (error) {
      if (error instanceof TokenRequestError) {
        return failed(key, refusal(403, error.error, error.message), REFUSED_MS);
      }
      if (error instanceof UnreachableError) {
        return failed(key, unavailable(error.message), UNREACHABLE_MS);
      }
      throw error;
    } finally {
      underway -= 1;
    }
  };

  return {
    answer: async (body, rules) => {
      const { resource, scope } = parseValue(bodySchema, body);
      try {
        parseScope(scope ?? '');
      } catch (error) {
        if (error instanceof FormatError) return refusal(400, 'invalid_scope', error.message);
        throw error;
      }
      if (resource === brokerResource()) {
        const text = "the broker's token stays in the agent; use POST /publish and GET /subscribe";
        return refusal(403, 'refused', text);
      }
      if (!mayAskFor(rules, resource)) {
        return refusal(403, 'refused', 'the rules of this socket do not name this resource');
      }
      return obtain(resource, scope);
    },
  };
}
