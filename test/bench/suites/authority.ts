/**
 * Suite `authority`: tokens per second, latency at half load, a fleet of a million, and how long a
 * refusal takes.
 *
 * Every request is a new assertion, signed before the sample; 16 keep-alive connections. Assertions of
 * all contenders are verified, spent in SQLite and answered with a signed token.
 *
 * Units   tokens per second; milliseconds; refusals per second on one connection.
 *
 * @module
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { thumbprint } from '@latchkey/shared';
import { type Load, startLoad } from '../authority/load-process.ts';
import type { Order, Outcome, Request } from '../authority/messages.ts';
import {
  type Devices,
  type Server,
  startLatchkey,
  startMinimal,
  startOidcProvider,
  subDir,
} from '../authority/servers.ts';
import { type Comparison, rateOf, type Suite } from '../harness.ts';

const CONNECTIONS = 16;
const REQUESTS = 1500;
const FEW_DEVICES = 1000;
const MANY_DEVICES = 1_000_000;
/** Devices of the large fleet that ask: more than any cache holds. */
const MANY_ASKING = 50_000;

/** The first device is revoked, so that refusing it can be measured. */
const asking = (count: number) => ({ first: 1, count: count - 1 });

interface Setup {
  readonly load: Load;
  readonly server: Server;
  readonly devices: number;
  readonly request?: Request;
}

const orderOf = (
  { server, devices, request = 'grant' }: Setup,
  more: Partial<Order> = {},
): Order => ({
  target: server.target,
  request,
  devices: asking(devices),
  requests: REQUESTS,
  connections: CONNECTIONS,
  expectedStatus: 200,
  ...more,
});

const rate = (setup: Setup, more: Partial<Order> = {}) =>
  rateOf(async () => {
    const order = orderOf(setup, more);
    const { ms } = await setup.load.run(order);
    return { operations: order.requests, ms };
  });

/** One run at half of what the server can do at this moment. */
async function halfLoad(setup: Setup): Promise<Outcome> {
  const { ms } = await setup.load.run(orderOf(setup, { requests: 800 }));
  const perSecond = (800 / ms) * 1000 * 0.5;
  return setup.load.run(orderOf(setup, { perSecond, requests: Math.ceil(perSecond * 1.5) }));
}

interface Servers {
  readonly ours: Setup;
  readonly handFull: Setup;
  readonly handNormal: Setup;
  readonly providerFull: Setup;
  readonly providerNormal: Setup;
}

/** NORMAL may forget at a power cut what it answered; it is here to show what the durability costs. */
function throughput(servers: Servers): Comparison {
  const hand = 'by hand (node:http, node:crypto, better-sqlite3, one commit each), FULL';
  const ours = 'latchkey serve, FULL (group commit, audit chain)';
  const provider = 'oidc-provider with better-sqlite3, FULL';
  return {
    name: `Tokens, ${FEW_DEVICES} devices, ${CONNECTIONS} connections; FULL and NORMAL are how SQLite syncs`,
    unit: 'tokens/s',
    contenders: [
      { name: hand, sample: rate(servers.handFull) },
      { name: 'by hand, NORMAL', base: hand, sample: rate(servers.handNormal) },
      { name: provider, base: hand, sample: rate(servers.providerFull) },
      { name: 'oidc-provider, NORMAL', base: hand, sample: rate(servers.providerNormal) },
      { name: ours, base: hand, sample: rate(servers.ours) },
    ],
    targets: [
      { contender: ours, base: hand, atLeast: 1 },
      { contender: ours, base: provider, atLeast: 2 },
    ],
    pids: [servers.ours.load.pid, ...Object.values(servers).map(({ server }: Setup) => server.pid)],
  };
}

/** The handler by hand is beside it to show what of the latency is the machine's. */
function latency(ours: Setup, hand: Setup): Comparison {
  const p50 = 'latchkey serve, p50';
  const p99 = 'latchkey serve, p99';
  const handP99 = 'by hand, FULL, p99';
  return {
    name: 'Latency of a token at half load, from when the request came',
    unit: 'ms',
    contenders: [
      { name: p99, sample: async () => (await halfLoad(ours)).p99Ms },
      { name: p50, base: p99, sample: async () => (await halfLoad(ours)).p50Ms },
      { name: handP99, sample: async () => (await halfLoad(hand)).p99Ms },
      {
        name: 'by hand, FULL, p50',
        base: handP99,
        sample: async () => (await halfLoad(hand)).p50Ms,
      },
    ],
    // p99 of at most three times p50.
    targets: [{ contender: p50, base: p99, atLeast: 1 / 3 }],
    pids: [ours.load.pid, ours.server.pid, hand.server.pid],
  };
}

function fleetSize(few: Setup, many: Setup): Comparison {
  const base = `${FEW_DEVICES.toLocaleString('en')} devices`;
  const large = `${MANY_DEVICES.toLocaleString('en')} devices, ${MANY_ASKING.toLocaleString('en')} of them asking`;
  return {
    name: 'latchkey serve: tokens by size of the fleet',
    unit: 'tokens/s',
    contenders: [
      { name: base, sample: rate(few) },
      { name: large, base, sample: rate(many) },
    ],
    targets: [{ contender: large, base, atLeast: 0.9 }],
    pids: [few.load.pid, few.server.pid, many.server.pid],
  };
}

/** On one connection, so that the rate is the time that each refusal takes. */
function refusals(setup: Setup): Comparison {
  const one = { connections: 1, requests: 400, expectedStatus: 400 };
  const bad = 'bad signature';
  const names = { unknown: 'unknown client', revoked: 'revoked client' };
  return {
    name: 'latchkey serve: refusals, one at a time (equal rates: nobody learns which it was)',
    unit: 'refusals/s',
    contenders: [
      { name: bad, sample: rate({ ...setup, request: 'bad-signature' }, one) },
      {
        name: names.unknown,
        base: bad,
        sample: rate({ ...setup, request: 'unknown-client' }, one),
      },
      {
        name: names.revoked,
        base: bad,
        sample: rate(setup, { ...one, devices: { first: 0, count: 1 } }),
      },
    ],
    pids: [setup.load.pid, setup.server.pid],
  };
}

async function prepare(): Promise<{
  readonly comparisons: readonly Comparison[];
  readonly close: () => Promise<void>;
}> {
  const dir = mkdtempSync(join(tmpdir(), 'latchkey-bench-'));
  const load = startLoad();
  const servers: Server[] = [];
  const add = async (starting: Promise<Server>): Promise<Server> => {
    const server = await starting;
    servers.push(server);
    return server;
  };
  const close = async (): Promise<void> => {
    for (const server of servers) await server.stop();
    load.stop();
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    const xs = await load.keys(MANY_ASKING);
    const kids = xs.map((x) => thumbprint({ kty: 'OKP', crv: 'Ed25519', x }));
    const few: Devices = { xs, kids, count: FEW_DEVICES };
    const ours = await add(startLatchkey(subDir(dir, 'few'), few));
    const many: Devices = { xs, kids, count: MANY_DEVICES };
    const large = await add(startLatchkey(subDir(dir, 'many'), many));
    const full = await add(startMinimal(dir, few, 'FULL'));
    const normal = await add(startMinimal(dir, few, 'NORMAL'));
    const provider = await add(startOidcProvider(dir, few, 'FULL'));
    const providerNormal = await add(startOidcProvider(dir, few, 'NORMAL'));
    const request = 'client-authentication';
    const of = (server: Server, more: Partial<Setup> = {}): Setup => ({
      load,
      server,
      devices: FEW_DEVICES,
      ...more,
    });
    return {
      comparisons: [
        throughput({
          ours: of(ours),
          handFull: of(full),
          handNormal: of(normal),
          providerFull: of(provider, { request }),
          providerNormal: of(providerNormal, { request }),
        }),
        fleetSize(of(ours), of(large, { devices: MANY_ASKING })),
        latency(of(ours), of(full)),
        refusals(of(ours)),
      ],
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

export const authoritySuite: Suite = {
  name: 'authority',
  about: 'tokens per second, latency, a fleet of a million, refusals',
  libraries: ['better-sqlite3', 'fastify', 'oidc-provider'],
  prepare,
};
