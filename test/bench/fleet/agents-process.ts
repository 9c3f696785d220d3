/**
 * A process with many agents, each as a library, with a state folder, an outbox and a connection of its own.
 *
 * @module
 */
import { join } from 'node:path';
import { type Agent, createAgent, enroll, parseAgentConfig } from '@latchkey/agent/daemon';
import {
  createHttpClient,
  type HttpClient,
  type Logger,
  parseClientId,
  systemClock,
} from '@latchkey/shared';
import { answerWith } from '../asked-process.ts';
import type { EnrollOrder, FleetLook, FleetOrder } from './messages.ts';

const AT_ONCE = 16;
const clock = systemClock;
const agents: Agent[] = [];
let tokenRequestsAt: number[] = [];
let onlineAt: number[] = [];

const real = createHttpClient();
const http: HttpClient = {
  request: (request) => {
    if (request.url.endsWith('/token')) tokenRequestsAt.push(clock.nowMs());
    return real.request(request);
  },
};
const ignore = (): void => undefined;
/** Notes when its agent comes online, which the end of a renewal is not. */
function createWatch(): Logger {
  let before: unknown;
  return {
    debug: ignore,
    info: ({ event, state }) => {
      if (event !== 'agent.state') return;
      if (state === 'online' && before !== 'renewing') onlineAt.push(clock.nowMs());
      before = state;
    },
    warn: ({ event, state }) => {
      if (event === 'agent.state') before = state;
    },
    error: (fields, message) => void process.stderr.write(`${message} ${JSON.stringify(fields)}\n`),
  };
}

async function enrollAll({ folder, issuer, code, resource, devices }: EnrollOrder): Promise<void> {
  let next = devices.first;
  const end = devices.first + devices.count;
  const worker = async (): Promise<void> => {
    while (next < end) {
      const id = `t-${next}`;
      next += 1;
      const request = { stateDir: join(folder, id), issuer, clientId: parseClientId(id) };
      await enroll({ ...request, readCode: async () => code }, { http, clock });
      const text = `state_dir = "${id}"\n[broker]\nurl = "${resource}"\nrenewal = "session"\n`;
      const config = parseAgentConfig(text, join(folder, 'agent.toml'));
      const logger = createWatch();
      agents.push(createAgent(config, { clock, http, logger, random: Math.random }));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

/** They run until the process ends. */
function startAll(): void {
  for (const agent of agents) {
    agent.run(new AbortController().signal).then(
      (end) => process.stderr.write(`an agent ended: ${end} ${agent.status().detail}\n`),
      (error: unknown) => process.stderr.write(`an agent failed: ${String(error)}\n`),
    );
  }
}

function look(): FleetLook {
  const states = agents.map((agent) => agent.status());
  const waits = states.map(({ detail }) => Number(/next try in (\d+) s/.exec(detail ?? '')?.[1]));
  const seen = { tokenRequestsAt, onlineAt };
  [tokenRequestsAt, onlineAt] = [[], []];
  return {
    ...seen,
    onlineNow: states.filter(({ state }) => state === 'online' || state === 'renewing').length,
    longestWaitSeconds: Math.max(0, ...waits.filter((wait) => wait > 0)),
    residentBytes: process.memoryUsage.rss(),
  };
}

answerWith<FleetOrder, FleetLook>(async (order) => {
  if (order.type === 'enroll') await enrollAll(order);
  else if (order.type === 'start') startAll();
  return look();
});
