/**
 * A real authority on a port of 127.0.0.1 with a thermostat role and a broker's service, and what a
 * broker trusts it by, following its feed over real HTTP that a test can disturb.
 *
 * @module
 */
import { join } from 'node:path';
import {
  type ClientId,
  createHttpClient,
  createKeySigner,
  type FeedClient,
  type HttpClient,
  type HttpResponse,
  parseResourceId,
} from '@latchkey/shared';
import { onTestFinished } from 'vitest';
import {
  type AuthorityTrust,
  createAuthorityTrust,
} from '../../broker-plugin/src/trust/authority-trust.ts';
import { openBrokerState } from '../../broker-plugin/src/trust/broker-state.ts';
import type { Replica } from '../../broker-plugin/src/trust/replica.ts';
import { type CapturedLog, createCapturedLog } from './captured-log.ts';
import { addService, type TestService } from './oauth-requests.ts';
import { freePort, temporaryDir } from './processes.ts';
import {
  addThermostatRole,
  BROKER,
  openTestAuthority,
  type TestAuthority,
} from './test-authority.ts';

export interface FollowedAuthority {
  readonly authority: TestAuthority;
  readonly port: number;
  /** May read the feed. */
  readonly service: TestService;
}

/** Lets the service `broker` read the feed. */
export async function addFeedReader(authority: TestAuthority): Promise<TestService> {
  await authority.api('POST', '/roles', { name: 'feed-reader', permissions: ['feed:read'] });
  return addService(authority, 'broker', { roles: ['feed-reader'] });
}

export async function startFollowedAuthority(): Promise<FollowedAuthority> {
  const port = await freePort();
  const authority = await openTestAuthority({ issuer: `http://127.0.0.1:${port}` });
  await addThermostatRole(authority);
  const service = await addFeedReader(authority);
  await authority.authority.listen({ host: '127.0.0.1', port });
  return { authority, port, service };
}

/** Answers in place of the real one, which `pass` fetches; `path` is without the query. */
export type Disturb = (
  path: string,
  pass: () => Promise<HttpResponse>,
  url: URL,
) => Promise<HttpResponse>;

export const honest: Disturb = (_path, pass) => pass();

export interface Follower {
  readonly trust: AuthorityTrust;
  readonly replica: Replica;
  readonly log: CapturedLog;
  readonly statePath: string;
  /** What happens to requests from now on. */
  disturb: Disturb;
  /** Paths that were asked for, in order. */
  readonly asked: readonly string[];
  /** How often the keys made known tokens be forgotten. */
  readonly keysRemoved: number;
  find(id: string): FeedClient | undefined;
  /** Begins to follow. */
  start(): void;
  /** Resolves with the next change that satisfies. */
  changed(satisfies?: (changed: readonly FeedClient[] | 'all') => boolean): Promise<void>;
  /** Follows no more and closes the state file. */
  stop(): Promise<void>;
}

export interface FollowerOptions {
  readonly statePath?: string;
  readonly disturb?: Disturb;
}

export function createFollower(
  { authority, service }: Pick<FollowedAuthority, 'authority' | 'service'>,
  options: FollowerOptions = {},
): Follower {
  const log = createCapturedLog();
  const real = createHttpClient({ timeoutMs: 4000, maxBodyBytes: 64 * 1024 });
  const asked: string[] = [];
  const http: HttpClient = {
    request: (request) => {
      const url = new URL(request.url);
      asked.push(url.pathname);
      return self.disturb(url.pathname, () => real.request(request), url);
    },
  };
  const statePath = options.statePath ?? join(temporaryDir(), 'state.db');
  const { clientId, key } = service;
  let keysRemoved = 0;
  const state = openBrokerState(statePath);
  const trust = createAuthorityTrust({
    ...{ issuer: authority.issuer, resource: parseResourceId(BROKER), state },
    feed: { clientId, signer: createKeySigner(key) },
    ...{ maxStalenessSeconds: 300, http, clock: authority.clock, logger: log },
    onKeyRemoved: () => {
      keysRemoved += 1;
    },
  });
  const replica = trust.clients as Replica;
  const ending = new AbortController();
  let running: Promise<void> | undefined;
  let isOpen = true;
  const self: Follower = {
    trust,
    replica,
    log,
    statePath,
    disturb: options.disturb ?? honest,
    asked,
    get keysRemoved() {
      return keysRemoved;
    },
    find: (id) => replica.find(id as ClientId),
    start: () => {
      running ??= trust.run(ending.signal);
    },
    changed: (satisfies = () => true) =>
      new Promise((resolve) => {
        const off = replica.onChange((changed) => {
          if (!satisfies(changed)) return;
          off();
          resolve();
        });
      }),
    stop: async () => {
      ending.abort();
      await running;
      if (isOpen) state.close();
      isOpen = false;
    },
  };
  onTestFinished(self.stop);
  return self;
}
