/**
 * `GET /feed`: signed pages of keys, clients and rights for a broker's replica; waits for changes.
 *
 *     after=SEQUENCE&resource=URI&nonce=N[&feed_id=ID][&snapshot_after=CLIENT][&wait=SECONDS]
 *
 * A reader that has nothing, is of another history or is ahead of this one gets a snapshot.
 *
 * Units   `wait` in seconds, 0 to 30.
 * Errors  problem details; 503 when too many readers wait.
 * Source  DESIGN 4 (Trust feed); RFC 9052, RFC 6750.
 *
 * @module
 */
import {
  type Clock,
  FEED_MAX_WAIT_SECONDS,
  FEED_MEDIA_TYPE,
  FEED_SCOPE,
  type FeedPage,
  FormatError,
  type Issuer,
  type Logger,
  MAX_FEED_PAGE_CLIENTS,
  parseClientId,
  parsedBy,
  parseResourceId,
  parseWith,
  signFeedPage,
} from '@latchkey/shared';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import * as v from 'valibot';
import type { Authenticate } from '../api/authenticate.js';
import { createApiErrorHandler } from '../api/error-reply.js';
import { authorize } from '../api/operator.js';
import type { FeedMark } from '../registry/feed-store.js';
import type { Registry } from '../registry/registry.js';
import { DEFAULT_ALGORITHM, type SigningKeys } from '../signing-keys.js';
import { createChangeWatch } from './change-watch.js';
import { toPageContent } from './page.js';

/** Readers that may wait at once: brokers, of which one authority has few. */
const MAX_WAITING = 256;
/** A page takes the event loop for some ten milliseconds. */
const PAGE_CLIENTS = MAX_FEED_PAGE_CLIENTS / 2;

function wholeNumber(maximum: number): v.GenericSchema<unknown, number> {
  const message = `must be a whole number from 0 to ${maximum}`;
  return v.pipe(
    v.string(message),
    v.regex(/^(0|[1-9][0-9]{0,15})$/, message),
    v.transform(Number),
    v.maxValue(maximum, message),
  );
}

const querySchema = v.strictObject({
  after: wholeNumber(Number.MAX_SAFE_INTEGER),
  resource: v.pipe(v.string(), parsedBy(parseResourceId)),
  nonce: v.pipe(
    v.string('must be given once'),
    v.regex(/^[A-Za-z0-9_-]{22,86}$/, 'must be 22 to 86 characters of base64url'),
  ),
  feed_id: v.optional(v.pipe(v.string(), v.regex(/^[0-9a-f]{32}$/, 'must be one of a page'))),
  snapshot_after: v.optional(v.pipe(v.string(), parsedBy(parseClientId))),
  wait: v.optional(wholeNumber(FEED_MAX_WAIT_SECONDS), '0'),
});
type Query = v.InferOutput<typeof querySchema>;

type Plan =
  | { readonly kind: 'snapshot'; readonly afterId: string }
  | { readonly kind: 'changes'; readonly after: number };

/** What the reader needs next. */
function planFor(query: Query, { feedId, sequence }: FeedMark): Plan {
  const isOfThisHistory = query.feed_id === feedId && query.after <= sequence;
  if (query.after > 0 && isOfThisHistory) return { kind: 'changes', after: query.after };
  return { kind: 'snapshot', afterId: isOfThisHistory ? (query.snapshot_after ?? '') : '' };
}

export function feedEndpoint(deps: {
  readonly issuer: Issuer;
  readonly registry: Registry;
  readonly signingKeys: SigningKeys;
  readonly authenticateOperator: Authenticate;
  /** The same for a request that was counted before. */
  readonly recheckOperator: Authenticate;
  readonly clock: Clock;
  readonly logger: Logger;
}): (app: FastifyInstance) => Promise<void> {
  const { issuer, registry, signingKeys, clock, logger } = deps;

  const requireReader = async (
    request: FastifyRequest,
    authenticate: Authenticate,
  ): Promise<void> => {
    const operator = await authenticate(request.headers.authorization);
    request.clientId = operator.clientId;
    authorize(operator, { scope: FEED_SCOPE, concerns: 'fleet' });
  };

  const readQuery = async (request: FastifyRequest): Promise<Query> => {
    const query = parseWith(querySchema, { ...(request.query as object) }, 'the query');
    if ((await registry.resource(query.resource)) === undefined) {
      throw new FormatError('resource', 'is unknown');
    }
    return query;
  };

  const readPage = async (query: Query, plan: Plan): Promise<FeedPage> => {
    const { resource, nonce } = query;
    const isSnapshot = plan.kind === 'snapshot';
    const slice = isSnapshot
      ? await registry.feedSnapshot({ resource, afterId: plan.afterId, limit: PAGE_CLIENTS })
      : await registry.feedChanges({ resource, after: plan.after, limit: PAGE_CLIENTS });
    return {
      issuer,
      resource,
      feedId: slice.mark.feedId,
      kind: plan.kind,
      from: isSnapshot ? 0 : plan.after,
      afterId: isSnapshot ? plan.afterId : '',
      issuedAt: clock.now(),
      nonce,
      // Read after the slice: what the page leads to must not be newer than its keys.
      issuerKeys: await signingKeys.published(),
      ...toPageContent(slice),
    };
  };

  return async (app) => {
    const watch = createChangeWatch({ registry, clock, maxWaiting: MAX_WAITING });
    app.addHook('preClose', async () => watch.close());
    app.setErrorHandler(createApiErrorHandler(logger));

    /** Resolves when there is something to tell, or not in the time that the reader gave. */
    const waitForChange = async (
      request: FastifyRequest,
      reply: FastifyReply,
      { wait }: Query,
      seen: FeedMark,
    ): Promise<void> => {
      const gone = new AbortController();
      reply.raw.once('close', () => gone.abort());
      await watch.wait(seen, wait * 1000, gone.signal);
      // The reader may have been revoked while it waited.
      await requireReader(request, deps.recheckOperator);
    };

    const onRequest = (request: FastifyRequest) =>
      requireReader(request, deps.authenticateOperator);

    app.get('/feed', { onRequest }, async (request, reply) => {
      const query = await readQuery(request);
      const mark = await registry.feedMark();
      const plan = planFor(query, mark);
      if (plan.kind === 'changes' && plan.after === mark.sequence && query.wait > 0) {
        await waitForChange(request, reply, query, mark);
      }
      const page = await readPage(query, plan);
      const body = await signFeedPage(await signingKeys.signerFor(DEFAULT_ALGORITHM), page);
      reply.header('cache-control', 'no-store').type(FEED_MEDIA_TYPE);
      return reply.send(body);
    });
  };
}
