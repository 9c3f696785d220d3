/**
 * A real authority, a real Aedes with the plugin, and real agents as a library, all on clocks that a test
 * drives: a day of an outage, a night of sleep, a clock that jumps.
 *
 * @module
 */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { type Agent, createAgent, enroll, parseAgentConfig } from '@latchkey/agent/daemon';
import { createLatchkey } from '@latchkey/broker-plugin';
import {
  createHttpClient,
  createKeySigner,
  type HttpClient,
  type NumericDate,
  parseClientId,
  parseResourceId,
} from '@latchkey/shared';
import { Aedes } from 'aedes';
import { onTestFinished } from 'vitest';
import { type CapturedLog, createCapturedLog } from './captured-log.ts';
import { createDrivenClock, type DrivenClock } from './driven-clock.ts';
import { addFeedReader } from './followed-authority.ts';
import { freePort, temporaryDir } from './processes.ts';
import { addCode, addThermostatRole, BROKER, openTestAuthority } from './test-authority.ts';

export interface DrivenAgent extends Agent {
  /** That of the device. */
  readonly clock: DrivenClock;
  readonly log: CapturedLog;
  readonly stateDir: string;
  /** Runs it until the test ends. */
  start(): void;
}

export interface AgentOptions {
  /** What a clock of its own shows at first. Default: it has the right one, that of the stack. */
  readonly clockShows?: number;
  readonly mayMint?: boolean;
  /** Further TOML lines of `[broker]`, and whatever tables follow. */
  readonly config?: string;
  readonly random?: () => number;
}

export interface DrivenStack {
  /** The right time: that of authority and broker. */
  readonly clock: DrivenClock;
  readonly brokerLog: CapturedLog;
  /** Payloads that the broker let through, in order. */
  readonly heard: readonly string[];
  /** What agents asked the authority so far, answered or not. */
  readonly requests: readonly { readonly path: string; readonly at: NumericDate }[];
  stopAuthority(): Promise<void>;
  startAuthority(): Promise<void>;
  stopBroker(): Promise<void>;
  startBroker(): Promise<void>;
  /** Enrolls a device. */
  addAgent(id: string, options?: AgentOptions): Promise<DrivenAgent>;
  /** Lets time pass for everybody, a step at a time, and lets each step's traffic end. */
  advance(seconds: number): Promise<void>;
  /** Lets the traffic that is on its way end, while time stands still. */
  settle(): Promise<void>;
}

export interface DrivenStackOptions {
  /** Default: that of the plugin. */
  readonly maxStalenessSeconds?: number;
}

const START = 1_760_000_000;
const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const isBusy = ({ state, detail }: { readonly state: string; readonly detail?: unknown }) =>
  ['obtaining', 'connecting'].includes(state) || (state === 'renewing' && detail === undefined);

export async function startDrivenStack(options: DrivenStackOptions = {}): Promise<DrivenStack> {
  const clock = createDrivenClock(START);
  const port = await freePort();
  const issuer = `http://127.0.0.1:${port}`;
  let authority = await openTestAuthority({ issuer, clock });
  await addThermostatRole(authority);
  const service = await addFeedReader(authority);
  const code = await addCode(authority, { uses: 1000 });
  const listen = () => authority.authority.listen({ host: '127.0.0.1', port });
  await listen();

  const brokerLog = createCapturedLog();
  const heard: string[] = [];
  const stateFile = join(temporaryDir(), 'state.db');
  let brokerPort = 0;
  let stopBroker: () => Promise<void>;
  const startBroker = async (): Promise<void> => {
    const aedes = await Aedes.createBroker();
    const latchkey = createLatchkey({
      issuer: authority.issuer,
      audience: parseResourceId(BROKER),
      feed: { clientId: service.clientId, signer: createKeySigner(service.key) },
      ...{ clock, stateFile, logger: brokerLog },
      ...options,
    });
    latchkey.install(aedes);
    aedes.subscribe(
      'devices/#',
      (packet, done) => {
        heard.push(packet.payload.toString());
        done();
      },
      () => undefined,
    );
    const sockets = new Set<Socket>();
    const server: Server = createServer({ noDelay: true }, (socket) => {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.once('close', () => sockets.delete(socket));
      aedes.handle(latchkey.guard(socket));
    });
    server.listen(brokerPort, '127.0.0.1');
    await once(server, 'listening');
    brokerPort = (server.address() as AddressInfo).port;
    let isUp = true;
    stopBroker = async () => {
      if (!isUp) return;
      isUp = false;
      for (const socket of sockets) socket.destroy();
      server.close();
      await latchkey.close();
      await new Promise<void>((resolve) => aedes.close(resolve));
    };
  };
  await startBroker();
  onTestFinished(() => stopBroker());
  await brokerLog.event('feed.whole');

  const real = createHttpClient();
  const requests: { path: string; at: NumericDate }[] = [];
  let underway = 0;
  const http: HttpClient = {
    request: async (request) => {
      underway += 1;
      requests.push({ path: new URL(request.url).pathname, at: clock.now() });
      try {
        const response = await real.request(request);
        // Node writes this header from the clock of this machine, not from the authority's.
        const date = new Date(clock.nowMs()).toUTCString();
        return { ...response, headers: { ...response.headers, date } };
      } finally {
        underway -= 1;
      }
    },
  };
  const agents: DrivenAgent[] = [];
  const settle = async (): Promise<void> => {
    do for (let i = 0; i < 5; i += 1) await tick();
    while (underway > 0 || agents.some((agent) => isBusy(agent.status())));
  };

  return {
    ...{ clock, brokerLog, heard, requests, startBroker, settle },
    stopBroker: () => stopBroker(),
    stopAuthority: () => authority.authority.close(),
    startAuthority: async () => {
      authority = await openTestAuthority({ issuer, clock, dataDir: authority.dataDir });
      await listen();
    },
    addAgent: async (id, { clockShows, mayMint = false, config = '', random } = {}) => {
      const clientId = parseClientId(id);
      const dir = temporaryDir();
      const stateDir = join(dir, 'state');
      const readCode = async () => code;
      await enroll({ stateDir, issuer: authority.issuer, clientId, readCode }, { http, clock });
      if (mayMint) await authority.registry.patchClient(clientId, { mayMint });
      const toml = `state_dir = "state"\n[broker]\nurl = "mqtt://127.0.0.1:${brokerPort}"\nresource = "${BROKER}"\n${config}`;
      const device = clockShows === undefined ? clock : createDrivenClock(clockShows);
      const log = createCapturedLog();
      const created = createAgent(parseAgentConfig(toml, join(dir, 'agent.toml')), {
        ...{ clock: device, logger: log, http },
        random: random ?? (() => 0.5),
      });
      const agent: DrivenAgent = {
        ...created,
        ...{ clock: device, log, stateDir },
        start: () => {
          const ending = new AbortController();
          const end = created.run(ending.signal);
          agents.push(agent);
          onTestFinished(async () => {
            ending.abort();
            await end;
          });
        },
      };
      return agent;
    },
    advance: async (seconds) => {
      const clocks = new Set([clock, ...agents.map((agent) => agent.clock)]);
      // Within a step they go one after another, and must not drift apart more than clocks may.
      const stepSeconds = clocks.size === 1 ? 5 : 1;
      for (let left = seconds; left > 0; left -= stepSeconds) {
        for (const one of clocks) await one.advance(Math.min(left, stepSeconds) * 1000);
        await settle();
      }
    },
  };
}
