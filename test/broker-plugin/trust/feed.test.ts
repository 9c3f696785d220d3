/** The trust feed client against a real authority over HTTP: DESIGN 4 and 8, STANDARDS 6. */
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import {
  createKeySigner,
  type FeedPage,
  generateKey,
  type HttpResponse,
  parseClientId,
  parseIssuer,
  parseResourceId,
  signFeedPage,
  UnreachableError,
  verifyFeedPage,
} from '@latchkey/shared';
import { describe, expect, test } from 'vitest';
import { FeedAnswerError } from '../../../broker-plugin/src/trust/feed-failure.ts';
import {
  createFollower,
  type Disturb,
  type FollowedAuthority,
  type Follower,
  honest,
  startFollowedAuthority,
} from '../../helpers/followed-authority.ts';
import { temporaryDir } from '../../helpers/processes.ts';
import { addDevice, BROKER, execSql, openTestAuthority } from '../../helpers/test-authority.ts';

/** Real requests take real time, and the machine may be busy. */
const POLL = { timeout: 15_000 };

interface Setup extends FollowedAuthority {
  readonly follower: Follower;
}

/** A follower whose replica is whole, with the devices. */
async function setup(devices: readonly string[] = ['t-1', 't-2']): Promise<Setup> {
  const followed = await startFollowedAuthority();
  for (const id of devices) await addDevice(followed.authority, id);
  const follower = createFollower(followed);
  const isWhole = follower.log.event('feed.whole');
  follower.start();
  await isWhole;
  await waiting(followed);
  return { ...followed, follower };
}

/** Resolves once the authority holds back its answer until something changes. */
const waiting = ({ authority }: Pick<FollowedAuthority, 'authority'>) =>
  authority.clock.untilSleeping(30_000);

const revoke = ({ authority }: Pick<FollowedAuthority, 'authority'>, id: string) =>
  authority.api('POST', `/clients/${id}/revoke`, {});

const isOf = (id: string) => (changed: unknown) =>
  Array.isArray(changed) && changed.some((client) => client.id === id);

const answer = (status: number, headers: HttpResponse['headers'] = {}): HttpResponse => ({
  ...{ status, headers, bytes: Buffer.alloc(0), body: '' },
});

/** Only of requests to the feed. */
const ofFeed =
  (disturb: Disturb): Disturb =>
  (path, pass, url) =>
    path === '/feed' ? disturb(path, pass, url) : pass();

/** A page that the authority's own key signed, for the request of that URL. */
async function signed(
  { authority }: Pick<FollowedAuthority, 'authority'>,
  { replica }: Follower,
  url: URL,
  more: Partial<FeedPage> = {},
): Promise<HttpResponse> {
  const { feedId, sequence } = replica.position as { feedId: string; sequence: number };
  const page: FeedPage = {
    ...{ issuer: authority.issuer, resource: parseResourceId(BROKER), feedId, kind: 'changes' },
    ...{ from: sequence, to: sequence, afterId: '', hasMore: false, clients: [] },
    ...{ issuedAt: authority.clock.now(), nonce: url.searchParams.get('nonce') ?? '' },
    issuerKeys: await authority.signingKeys.published(),
    ...more,
  };
  return page200(await signFeedPage(await authority.signingKeys.signerFor('EdDSA'), page));
}

const page200 = (bytes: Buffer): HttpResponse => ({
  ...{ status: 200, headers: {}, bytes, body: '' },
});

describe('following', () => {
  test('a change at the authority is in the table in less than a second', async () => {
    const { authority, follower } = await setup();
    expect(follower.find('t-1')).toMatchObject({ status: 'active', mayMint: false });
    expect(follower.find('t-1')?.scope).toContain('pub:devices/t-1/telemetry/#');
    const changed = follower.changed(isOf('t-1'));
    const startedMs = performance.now();
    await revoke({ authority }, 't-1');
    await changed;
    expect(performance.now() - startedMs).toBeLessThan(1000);
    expect(follower.find('t-1')).toMatchObject({ status: 'revoked', keys: [], scope: '' });
  });

  test('is ready with keys and a whole replica, not before', async () => {
    const followed = await startFollowedAuthority();
    const follower = createFollower(followed, { disturb: ofFeed(async () => answer(503)) });
    follower.start();
    await follower.log.event('feed.failed');
    expect(follower.trust.keys.size).toBeGreaterThan(0);
    expect(follower.trust.isReady()).toBe(false);
    follower.disturb = honest;
    const isWhole = follower.log.event('feed.whole');
    await followed.authority.clock.advance(60_000);
    await isWhole;
    expect(follower.trust.isReady()).toBe(true);
  });

  test('an authority with nothing new is asked once in 30 s', async () => {
    const { authority, follower } = await setup();
    const before = follower.asked.length;
    for (let i = 0; i < 3; i += 1) {
      await authority.clock.advance(30_000);
      await waiting({ authority });
    }
    expect(follower.asked.slice(before)).toEqual(['/feed', '/feed', '/feed']);
    expect(follower.replica.freshAt).toBe(authority.clock.now());
  });

  test('somebody who answers "nothing new" without waiting is asked once a second', async () => {
    const { authority, follower } = await setup();
    let asked = 0;
    // The request that waits now ends; the next ones do not wait.
    follower.disturb = ofFeed(async (_path, _pass, url) => {
      asked += 1;
      return signed({ authority }, follower, url);
    });
    await authority.clock.advance(30_000);
    await authority.clock.untilSleeping(1000);
    expect(asked).toBe(1);
    await authority.clock.advance(1000);
    await authority.clock.untilSleeping(1000);
    expect(asked).toBe(2);
  });

  test('a token is asked for once and renewed before a request can outlast it', async () => {
    const { authority, follower } = await setup([]);
    const tokens = () => follower.asked.filter((path) => path === '/token').length;
    expect(tokens()).toBe(1);
    // It lasts 900 s.
    for (let ms = 0; ms < 780_000; ms += 30_000) {
      await authority.clock.advance(30_000);
      await waiting({ authority });
    }
    expect(tokens()).toBe(1);
    await authority.clock.advance(30_000);
    await waiting({ authority });
    expect(tokens()).toBe(2);
    expect(follower.log.all('feed.failed')).toEqual([]);
  });
});

/** What a page must never do: change the table, or move the follower on. */
const shown = ({ replica, find }: Follower) => ({
  position: replica.position,
  lastIssuedAt: replica.lastIssuedAt,
  clients: ['t-1', 't-2'].map((id) => find(id)),
});

describe('a page that does not fit is never applied, and an honest one is afterwards', () => {
  const other = generateKey();

  test.each<{
    name: string;
    reason: string;
    make: (made: Setup, url: URL) => Promise<HttpResponse>;
  }>([
    {
      name: 'tampered with',
      reason: 'signature',
      make: async (made, url) => {
        const { bytes } = await signed(made, made.follower, url);
        bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1;
        return page200(bytes);
      },
    },
    {
      name: 'signed by a key that the issuer does not have',
      reason: 'key',
      make: async (made, url) => {
        const { bytes } = await signed(made, made.follower, url);
        const page = await verifyFeedPage(bytes, (kid) =>
          made.follower.trust.keys.findPageKey(kid),
        );
        return page200(await signFeedPage(createKeySigner(other), page));
      },
    },
    {
      name: 'that answers an earlier request',
      reason: 'nonce',
      make: async (made, url) => {
        const { bytes } = await signed(made, made.follower, url, { nonce: 'B'.repeat(22) });
        return page200(bytes);
      },
    },
    {
      name: 'that skips changes',
      reason: 'gap',
      make: (made, url) =>
        signed(made, made.follower, url, { from: sequenceOf(made) + 1, to: sequenceOf(made) + 2 }),
    },
    {
      name: 'of changes that were applied before',
      reason: 'stale',
      make: (made, url) =>
        signed(made, made.follower, url, { from: sequenceOf(made) - 1, to: sequenceOf(made) }),
    },
    {
      name: 'of another history that goes on with ours',
      reason: 'feed-id',
      make: (made, url) => signed(made, made.follower, url, { feedId: 'f'.repeat(32) }),
    },
    {
      name: 'that was made more than a minute before the last one',
      reason: 'stale',
      make: (made, url) =>
        signed(made, made.follower, url, { issuedAt: made.follower.replica.lastIssuedAt - 61 }),
    },
    {
      name: 'that begins anew before what is known',
      reason: 'rollback',
      make: (made, url) =>
        signed(made, made.follower, url, { kind: 'snapshot', from: 0, to: sequenceOf(made) - 1 }),
    },
    {
      name: 'for another broker',
      reason: 'resource',
      make: (made, url) =>
        signed(made, made.follower, url, { resource: parseResourceId('mqtts://other.example') }),
    },
    {
      name: 'of another issuer',
      reason: 'issuer',
      make: (made, url) =>
        signed(made, made.follower, url, { issuer: parseIssuer('https://other.example') }),
    },
    {
      name: 'that leads backwards',
      reason: 'malformed',
      make: (made, url) => signed(made, made.follower, url, { to: sequenceOf(made) - 1 }),
    },
    {
      name: 'that is no page',
      reason: 'malformed',
      make: async () => page200(Buffer.from('<html>')),
    },
  ])('a page $name: $reason', async ({ reason, make }) => {
    const made = await setup();
    const { authority, follower } = made;
    const before = shown(follower);
    follower.disturb = ofFeed((_path, _pass, url) => make(made, url));
    const failed = follower.log.event('feed.failed');
    await authority.clock.advance(30_000);
    expect(await failed).toMatchObject({ reason });
    expect(shown(follower)).toEqual({ ...before, lastIssuedAt: expect.any(Number) });
    follower.disturb = honest;
    const changed = follower.changed(isOf('t-1'));
    await revoke(made, 't-1');
    await authority.clock.advance(60_000);
    await changed;
    await follower.log.event('feed.recovered');
    expect(follower.find('t-1')?.status).toBe('revoked');
    expect(follower.trust.formatMetrics().join('\n')).toContain(
      `latchkey_feed_failures_total{reason="${reason}"} 1`,
    );
  });

  const sequenceOf = ({ follower }: Pick<Setup, 'follower'>) =>
    (follower.replica.position as { readonly sequence: number }).sequence;
});

describe('an authority that was restored from a backup', () => {
  test('is not believed that a revoked client is good again; another history is taken, and said', async () => {
    const made = await setup();
    const { authority, port, follower } = made;
    const backup = join(temporaryDir(), 'backup');
    cpSync(authority.dataDir, backup, { recursive: true });
    const changed = follower.changed(isOf('t-1'));
    await revoke(made, 't-1');
    await changed;
    await authority.authority.close();
    rmSync(authority.dataDir, { recursive: true });

    const { clock } = authority;
    const restored = await openTestAuthority({ dataDir: backup, clock });
    await restored.authority.listen({ host: '127.0.0.1', port });
    const lastFailure = async () => {
      await clock.advance(60_000);
      return follower.log.all('feed.failed').at(-1);
    };
    await expect.poll(lastFailure, POLL).toMatchObject({
      reason: 'rollback',
      advice: expect.stringContaining('latchkey feed renew'),
    });
    expect(follower.find('t-1')?.status).toBe('revoked');

    await restored.registry.renewFeed();
    const status = async () => {
      await clock.advance(60_000);
      return follower.find('t-1')?.status;
    };
    await expect.poll(status, POLL).toBe('active');
    expect(follower.log.all('feed.restarted')).toHaveLength(1);
  });
});

describe('keys of the issuer', () => {
  test('replaced at once: the old ones are trusted no more, a new token is asked for, nobody waits', async () => {
    const { authority, follower } = await setup();
    await authority.clock.advance(1000); // key sets are fetched at most once a second
    const [old] = await authority.signingKeys.published();
    const { kid } = old!;
    expect(follower.trust.keys.findKey(kid)).toMatchObject({ kid });
    const removed = follower.keysRemoved;
    const tokens = () => follower.asked.filter((path) => path === '/token').length;
    const before = tokens();
    const startedMs = performance.now();
    const updated = follower.log.event('keys.updated', {}, follower.log.lines.length);
    await authority.signingKeys.rotate({ now: true });
    await updated;
    await waiting({ authority });
    expect(performance.now() - startedMs).toBeLessThan(1000);
    expect(tokens()).toBe(before + 1);
    expect(follower.keysRemoved).toBe(removed + 1);
    expect(await follower.trust.keys.findKey(kid)).toBeUndefined();
    const [next] = await authority.signingKeys.published();
    expect(follower.trust.keys.findKey(next!.kid)).toMatchObject({ kid: next!.kid });
    expect(follower.log.all('feed.failed')).toEqual([]);
  });

  test('that were dropped stay dropped after a restart with the authority down', async () => {
    const made = await setup();
    const { authority, follower } = made;
    await authority.clock.advance(1000);
    const [old] = await authority.signingKeys.published();
    await authority.signingKeys.rotate({ now: true });
    const [next] = await authority.signingKeys.published();
    await expect.poll(() => follower.keysRemoved, POLL).toBe(1);
    await follower.stop();
    const later = createFollower(made, {
      statePath: follower.statePath,
      disturb: async () => {
        throw new UnreachableError('down');
      },
    });
    expect((await later.trust.keys.findKey(next!.kid))?.kid).toBe(next?.kid);
    await expect(later.trust.keys.findKey(old!.kid)).rejects.toMatchObject({ status: 503 });
  });
});

describe('when the authority does not answer', () => {
  const down: Disturb = async () => {
    throw new UnreachableError('down');
  };

  test('a broker without a replica waits, slower each time, and one line tells of it', async () => {
    const followed = await startFollowedAuthority();
    const { clock } = followed.authority;
    const follower = createFollower(followed, { disturb: down });
    follower.start();
    await follower.log.event('feed.failed');
    await clock.advance(600_000);
    const attempts = follower.trust.formatMetrics().join('\n');
    expect(attempts).toMatch(/latchkey_feed_failures_total\{reason="unreachable"\} \d+/);
    expect(attempts).toContain('latchkey_feed_age_seconds +Inf');
    expect(follower.trust.isReady()).toBe(false);
    const levels = follower.log.lines
      .filter(({ fields }) => fields.event === 'feed.failed')
      .map(({ level }) => level);
    expect(levels[0]).toBe('warn');
    expect(new Set(levels.slice(1))).toEqual(new Set(['debug']));
    expect(levels.length).toBeGreaterThan(10);
    expect(levels.length).toBeLessThan(200);
    follower.disturb = honest;
    const isWhole = follower.log.event('feed.whole');
    await clock.advance(60_000);
    await isWhole;
  });

  test('a broker with a replica has what it had, and is ready', async () => {
    const made = await setup();
    const changed = made.follower.changed(isOf('t-2'));
    await revoke(made, 't-2');
    await changed;
    await made.follower.stop();
    const follower = createFollower(made, { statePath: made.follower.statePath, disturb: down });
    follower.start();
    await follower.log.event('feed.failed');
    expect(follower.trust.isReady()).toBe(true);
    expect(['t-1', 't-2'].map((id) => follower.find(id)?.status)).toEqual(['active', 'revoked']);
    // What happened meanwhile is told when it is back.
    await revoke(made, 't-1');
    follower.disturb = honest;
    const told = follower.changed(isOf('t-1'));
    await made.authority.clock.advance(60_000);
    await told;
    expect(follower.log.all('feed.whole')).toEqual([]);
  });

  test.each([
    { name: '503 and Retry-After in seconds', status: 503, after: '20', leastMs: 20_000 },
    { name: '429 and Retry-After in seconds', status: 429, after: '7', leastMs: 7000 },
    { name: '503 without Retry-After', status: 503, after: undefined, leastMs: 0 },
    { name: '503 and a Retry-After of a year', status: 503, after: '31536000', leastMs: 300_000 },
    { name: '429 and a Retry-After that is no time', status: 429, after: 'soon', leastMs: 0 },
  ])(
    '$name: it is asked again not before $leastMs ms and a jitter',
    async ({ status, after, leastMs }) => {
      const followed = await startFollowedAuthority();
      const { clock } = followed.authority;
      const headers = after === undefined ? {} : { 'retry-after': after };
      let asked = 0;
      const disturb = ofFeed(async () => {
        asked += 1;
        return answer(status, headers);
      });
      const follower = createFollower(followed, { disturb });
      follower.start();
      const { reason, waitMs } = await follower.log.event('feed.failed');
      expect(reason).toBe('busy');
      expect(waitMs).toBeGreaterThanOrEqual(leastMs);
      expect(waitMs).toBeLessThan(leastMs + 1000);
      await clock.untilSleeping(waitMs as number);
      await clock.advance((waitMs as number) - 1);
      expect(asked).toBe(1);
      await clock.advance(1);
      await expect.poll(() => asked, POLL).toBe(2);
    },
  );

  test('a Retry-After may be a date', () => {
    const at = (text: string) =>
      new FeedAnswerError(answer(503, { 'retry-after': text }), 1_760_000_000_000).retryAfterMs;
    expect(at('Thu, 09 Oct 2025 08:53:30 GMT')).toBe(10_000);
    expect(at('Thu, 09 Oct 2025 08:53:10 GMT')).toBe(0);
    expect(at('Fri, 09 Oct 2026 08:53:10 GMT')).toBe(300_000);
  });
});

describe('a broker that the authority does not let read', () => {
  test.each<{ name: string; spoil: (made: Setup) => unknown; reason: string; advice: RegExp }>([
    {
      name: 'revoked meanwhile',
      spoil: ({ authority }) => authority.api('POST', '/clients/broker/revoke', {}),
      reason: 'token',
      advice: /active at the authority/,
    },
    {
      name: 'without the permission',
      spoil: ({ authority, follower }) => {
        follower.disturb = ofFeed(async () => answer(403));
        return authority.clock.advance(30_000);
      },
      reason: 'forbidden',
      advice: /feed:read/,
    },
    {
      name: 'whose every token is refused',
      spoil: ({ authority, follower }) => {
        follower.disturb = ofFeed(async () => answer(401));
        return authority.clock.advance(30_000);
      },
      reason: 'unauthorized',
      advice: /active at the authority/,
    },
  ])('$name: keeps its replica, and says what to do', async ({ spoil, reason, advice }) => {
    const made = await setup();
    const { follower, authority } = made;
    const failed = follower.log.event('feed.failed');
    await spoil(made);
    expect(await failed).toMatchObject({ reason, advice: expect.stringMatching(advice) });
    expect(follower.find('t-1')).toBeDefined();
    expect(follower.trust.isReady()).toBe(true);
    const before = follower.asked.length;
    await authority.clock.advance(999);
    // Once at once with a new token, then it waits.
    expect(follower.asked.length - before).toBeLessThanOrEqual(4);
  });
});

describe('a snapshot', () => {
  test('of 10,000 clients comes in pages of 500, and never in more', async () => {
    const made = await startFollowedAuthority();
    execSql(
      made.authority,
      `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
       INSERT INTO client (id, kind, status, created_at)
         SELECT printf('c-%05d', i), 'device', 'active', 1 FROM n;
       INSERT INTO client_role (client, role)
         SELECT id, 'thermostat' FROM client WHERE id LIKE 'c-%'`,
    );
    const sizes: number[] = [];
    const follower = createFollower(made, {
      disturb: ofFeed(async (_path, pass) => {
        const response = await pass();
        sizes.push(response.bytes.length);
        return response;
      }),
    });
    const isWhole = follower.log.event('feed.whole');
    follower.start();
    expect(await isWhole).toMatchObject({ clients: 10_002 });
    expect(sizes).toHaveLength(21);
    expect(Math.max(...sizes)).toBeLessThan(200_000);
    expect(follower.find('c-10000')?.scope).toContain('devices/c-10000/telemetry/#');
  });
});

describe('a snapshot that begins again', () => {
  test('serves once it is whole; the old one until then', async () => {
    const ids = Array.from({ length: 501 }, (_, i) => `c-${String(i).padStart(3, '0')}`);
    const made = await setup([]);
    const { authority, follower } = made;
    for (const id of ids) await createBare(made, id);
    /** Changes that come together are told together, a moment later. */
    const aMomentLater = async <Seen>(look: () => Seen): Promise<Seen> => {
      await authority.clock.advance(100);
      return look();
    };
    await expect.poll(() => aMomentLater(() => follower.replica.size), POLL).toBe(503);
    let release: (() => void) | undefined;
    follower.disturb = ofFeed(async (_path, pass, url) => {
      if (url.searchParams.has('snapshot_after')) {
        await new Promise<void>((resolve) => {
          release = resolve;
        });
      }
      return pass();
    });
    await authority.registry.renewFeed();
    await createBare(made, 'c-new');
    await expect.poll(() => aMomentLater(() => release !== undefined), POLL).toBe(true);
    expect(follower.find('c-new')).toBeUndefined();
    expect(follower.find('c-500')).toBeDefined();
    expect(follower.replica).toMatchObject({ isWhole: true, position: { at: 'snapshot' } });
    const all = follower.changed((what) => what === 'all');
    release?.();
    await all;
    expect(follower.find('c-new')).toBeDefined();
    expect(follower.replica.size).toBe(504);
  });
});

const createBare = ({ authority }: Pick<FollowedAuthority, 'authority'>, id: string) =>
  authority.registry.createClient({
    ...{ id: parseClientId(id), kind: 'device' as const, roles: [], labels: new Map() },
    key: undefined,
  });

test('I1: nothing that is secret is in the log, whatever fails', async () => {
  const { authority, follower } = await setup();
  for (const status of [401, 403, 503, 200]) {
    follower.disturb = ofFeed(async () => answer(status));
    const reason = { 200: 'malformed', 401: 'unauthorized', 403: 'forbidden', 503: 'busy' }[status];
    const reasons = async () => {
      await authority.clock.advance(60_000);
      return follower.log.all('feed.failed').map((fields) => fields.reason);
    };
    await expect.poll(reasons, POLL).toContain(reason);
  }
  const text = follower.log.text();
  expect(text).not.toMatch(/eyJ|Bearer|PRIVATE/);
});
