/**
 * Puts together what the broker trusts the authority by: its keys, and with a feed its clients.
 *
 * Units   seconds as the names say.
 * Errors  `ConfigError` for a state file or key file, `FormatError` for an id, `TypeError` for a feed
 *         without a state file.
 * Source  DESIGN 3, 4 (Trust feed), 8.
 *
 * @module
 */
import {
  type Clock,
  type HttpClient,
  type Issuer,
  type Logger,
  parseClientId,
  type ResourceId,
  SIGNING_ALGORITHMS,
} from '@latchkey/shared';
import { formatMetric } from '../metrics.js';
import type { FeedOptions } from '../options.js';
import type { BrokerState } from './broker-state.js';
import type { ClientTable } from './client-table.js';
import { createFeed, type Feed } from './feed.js';
import { createFeedAccess } from './feed-access.js';
import { createFreshness, type Freshness } from './freshness.js';
import { createIssuerKeys, createMetadataLocator, type IssuerKeys } from './jwks.js';
import { openKeyFile } from './key-file.js';
import { createReplica, type Replica } from './replica.js';

export interface AuthorityTrust {
  readonly keys: IssuerKeys;
  /** As the feed tells; `undefined` without one. */
  readonly clients: ClientTable | undefined;
  /** Whether there are keys, and with a feed a whole replica. */
  isReady(): boolean;
  /** Follows keys and feed until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
  /** To be called each second. */
  sweep(): void;
  /** Of the feed; none without one. */
  formatMetrics(): readonly string[];
}

interface TrustDeps {
  readonly issuer: Issuer;
  readonly resource: ResourceId;
  readonly state: BrokerState | undefined;
  readonly feed: FeedOptions | undefined;
  readonly maxStalenessSeconds: number;
  readonly http: HttpClient;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onKeyRemoved: () => void;
}

interface Following {
  readonly feed: Feed;
  readonly replica: Replica;
  readonly freshness: Freshness;
}

function follow(deps: TrustDeps, keys: IssuerKeys): Following | undefined {
  const { issuer, resource, state, feed: options, http, clock, logger } = deps;
  if (options === undefined) return undefined;
  if (state === undefined) throw new TypeError('a feed needs a state file');
  const clientId = parseClientId(options.clientId, 'feed.clientId');
  const signer = options.signer ?? openKeyFile(options.keyFile);
  const { db, copies: keyCopies } = state;
  const replica = createReplica({ db, issuer, resource, keyCopies, logger });
  const { maxStalenessSeconds } = deps;
  const freshness = createFreshness({ table: replica, maxStalenessSeconds, clock, logger });
  const access = createFeedAccess({ issuer, clientId, signer, http, clock });
  const parts = { issuer, resource, replica, keys, access, http, clock, logger };
  return { replica, freshness, feed: createFeed({ ...parts, random: Math.random }) };
}

function formatFeed({ feed, replica, freshness }: Following): readonly string[] {
  const failures = [...feed.failures].map(
    ([reason, count]) => [`{reason="${reason}"}`, count] as const,
  );
  return [
    formatMetric(
      'latchkey_feed_age_seconds',
      'gauge',
      'Time since the last page of the trust feed was verified.',
      freshness.ageSeconds(),
    ),
    formatMetric('latchkey_feed_clients', 'gauge', 'Clients in the replica.', replica.size),
    formatMetric('latchkey_feed_pages_total', 'counter', 'Pages applied.', feed.pages),
    formatMetric('latchkey_feed_failures_total', 'counter', 'Failures of the feed.', failures),
  ];
}

export function createAuthorityTrust(deps: TrustDeps): AuthorityTrust {
  const { issuer, state, http, clock, logger, onKeyRemoved } = deps;
  const keys = createIssuerKeys({
    ...{ issuer, http, clock, logger, onKeyRemoved, copies: state?.copies },
    ...{ locate: createMetadataLocator(http, issuer), algorithms: SIGNING_ALGORITHMS },
  });
  const following = follow(deps, keys);
  return {
    keys,
    clients: following?.replica,
    isReady: () => keys.size > 0 && following?.replica.isWhole !== false,
    run: async (signal) => {
      await Promise.all([keys.run(signal), following?.feed.run(signal)]);
    },
    sweep: () => following?.freshness.sweep(),
    formatMetrics: () => (following === undefined ? [] : formatFeed(following)),
  };
}
