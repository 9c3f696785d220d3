/**
 * Suite `agent`: what the agent costs a device, beside bare Node, ten lines of MQTT.js, and mosquitto_sub;
 * and what keeping messages through power cuts costs, beside a bare loop of INSERT and publish.
 *
 * Outbox and local socket are on. At rest: connected and subscribed, nothing to publish.
 *
 * @module
 */
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { startAuthority } from '../agent/authority.ts';
import {
  type Device,
  isSaidToBeOnline,
  makeBundle,
  NAMES,
  prepareAgent,
  prepareDevices,
  type RunningDevice,
  startDevice,
} from '../agent/devices.ts';
import type { PublishAnswer, PublishQuestion } from '../agent/messages.ts';
import { cpuNanoseconds, residentBytes, writtenBytes } from '../agent/process-usage.ts';
import { type AskedProcess, startAsked } from '../asked-process.ts';
import { startAedes } from '../broker/brokers.ts';
import { type Comparison, type Contender, rateOf, type Suite } from '../harness.ts';

const MIB = 1024 * 1024;
const HOUR_SECONDS = 3600;
/** Time to settle before CPU time counts. */
const SETTLE_SECONDS = 5;
/** Messages in a group of the loop, and in an array for the socket. */
const GROUP = 100;
/** Requests on their way at once. */
const REQUESTS = 4;
const MESSAGES = 10_000;
/** Each sample is a process of its own; other processes are kept away from outside. */
const ALONE = { maxRetries: 0, warmUps: 0 } as const;

const againstScript = (name: string): Pick<Contender, 'base'> =>
  name === NAMES.script ? {} : { base: NAMES.script };

function startComparison(devices: readonly Device[]): Comparison {
  return {
    name: 'from start to online',
    unit: 'ms',
    ...ALONE,
    warmUps: 1,
    contenders: devices.map(({ name, start }) => ({
      name,
      ...againstScript(name),
      sample: async () => {
        const running = await start();
        await running.stop();
        return running.onlineAfterMs;
      },
    })),
    targets: [atMost(NAMES.bundle, 1)],
  };
}

function atMost(contender: string, ratio: number) {
  return {
    contender,
    base: NAMES.script,
    atMost: ratio,
    derive: (of: (name: string) => number) => of(contender) / of(NAMES.script),
  };
}

/** All run side by side, since they do nothing; each sample is of a process of its own. */
function restComparison(
  devices: readonly Device[],
  about: Pick<Comparison, 'name' | 'unit' | 'targets'>,
  measure: (pid: number) => Promise<number>,
): Comparison {
  const underway = new Map<string, Promise<number>>();
  const measureAndStop = async (running: RunningDevice): Promise<number> => {
    try {
      return await measure(running.pid);
    } finally {
      await running.stop();
    }
  };
  const begin = async (): Promise<void> => {
    for (const { name, start } of devices) {
      const running = await start();
      underway.set(name, measureAndStop(running));
    }
  };
  return {
    ...about,
    ...ALONE,
    maxRounds: 3,
    contenders: devices.map(({ name }) => ({
      name,
      ...againstScript(name),
      sample: async () => {
        if (!underway.has(name)) await begin();
        const value = await (underway.get(name) as Promise<number>);
        underway.delete(name);
        return value;
      },
    })),
  };
}

async function cpuPerHour(pid: number, seconds: number): Promise<number> {
  await delay(SETTLE_SECONDS * 1000);
  const before = cpuNanoseconds(pid);
  await delay(seconds * 1000);
  return ((cpuNanoseconds(pid) - before) / 1e9 / seconds) * HOUR_SECONDS;
}

interface Publishers {
  readonly agent: {
    readonly pid: number;
    readonly load: AskedProcess<PublishQuestion, PublishAnswer>;
  };
  readonly loop: AskedProcess<PublishQuestion, PublishAnswer>;
  readonly pids: readonly number[];
  close(): Promise<void>;
}

const script = (name: string) => fileURLToPath(new URL(`../agent/${name}`, import.meta.url));

async function preparePublishers(dir: string, bundle: string): Promise<Publishers> {
  const authority = await startAuthority();
  const broker = await startAedes('yes', authority.issuer);
  const url = `mqtt://127.0.0.1:${broker.target.port}`;
  const { socket, args } = await prepareAgent(dir, authority, { url, clientId: 'agent' });
  const agent = await startDevice([process.execPath, bundle, ...args], isSaidToBeOnline);
  const load = await startAsked<PublishQuestion, PublishAnswer>(script('socket-load.js'), {
    args: [socket],
  });
  const loop = await startAsked<PublishQuestion, PublishAnswer>(script('bare-loop.js'), {
    args: [url, join(dir, 'loop.db')],
  });
  const all = [broker, agent, load, loop];
  return {
    agent: { pid: agent.pid, load },
    loop,
    pids: all.map(({ pid }) => pid),
    close: async () => {
      for (const one of all.toReversed()) await one.stop();
      authority.close();
    },
  };
}

function publishComparison({ agent, loop, pids }: Publishers): Comparison {
  const rate = (
    process: AskedProcess<PublishQuestion, PublishAnswer>,
    how: Pick<PublishQuestion, 'count' | 'group' | 'atOnce'>,
  ) =>
    rateOf(async () => {
      const { ms } = await process.ask({ everyMs: 0, ...how });
      return { operations: how.count, ms };
    });
  const base = `loop: INSERT ${GROUP}, then publish them`;
  const contender = `socket, ${GROUP} in a request, ${REQUESTS} requests at once`;
  const count = MESSAGES;
  return {
    name: 'messages per second, QoS 1, on disk before the answer, until the broker has all',
    unit: 'messages/s',
    pids,
    contenders: [
      { name: base, sample: rate(loop, { count, group: GROUP, atOnce: 1 }) },
      {
        name: contender,
        base,
        sample: rate(agent.load, { count, group: GROUP, atOnce: REQUESTS }),
      },
      {
        name: 'socket, 1 in a request, 32 requests at once',
        base,
        sample: rate(agent.load, { count: count / 5, group: 1, atOnce: 32 }),
      },
    ],
    targets: [{ contender, base, atLeast: 0.7 }],
  };
}

/** Removals are written up to a second later. */
const LAST_WRITE_MS = 1500;

function writesComparison({ agent }: Publishers, seconds: number): Comparison {
  const paced = (perSecond: number, atOnce: number) => async (): Promise<number> => {
    const before = writtenBytes(agent.pid);
    const count = perSecond * Math.min(seconds, 20);
    await agent.load.ask({ count, group: 1, atOnce, everyMs: (1000 * atOnce) / perSecond });
    await delay(LAST_WRITE_MS);
    return (writtenBytes(agent.pid) - before) / 1024 / count;
  };
  return {
    name: 'written to the disk for each message',
    unit: 'KiB',
    ...ALONE,
    maxRounds: 2,
    contenders: [
      { name: '1 message per second', sample: paced(1, 1) },
      { name: 'up to 1,000 per second', sample: paced(1000, 32) },
    ],
  };
}

const sizeComparison = (bundle: string): Comparison => ({
  name: 'size of the program',
  unit: 'KiB',
  ...ALONE,
  maxRounds: 1,
  contenders: [{ name: NAMES.bundle, sample: async () => statSync(bundle).size / 1024 }],
});

export const agentSuite: Suite = {
  name: 'agent',
  about: 'memory, start, publishing and rest of the agent, beside ten lines of MQTT.js',
  libraries: ['mqtt', 'aedes', 'better-sqlite3'],
  prepare: async ({ seconds }) => {
    const dir = mkdtempSync(join(tmpdir(), 'latchkey-bench-'));
    const bundle = makeBundle(join(dir, 'bundle'));
    const { devices, close: closeDevices } = await prepareDevices(dir, bundle);
    const publishers = await preparePublishers(join(dir, 'publishing'), bundle);
    const resting = devices.filter(({ name }) => name !== NAMES.fresh);
    return {
      comparisons: [
        startComparison(devices),
        restComparison(
          resting,
          {
            name: `resident after ${seconds} s`,
            unit: 'MiB',
            targets: [atMost(NAMES.bundle, 1.05)],
          },
          async (pid) => {
            await delay(seconds * 1000);
            return residentBytes(pid) / MIB;
          },
        ),
        restComparison(
          resting,
          { name: `CPU time at rest, of ${seconds} s`, unit: 's per hour' },
          (pid) => cpuPerHour(pid, seconds),
        ),
        publishComparison(publishers),
        writesComparison(publishers, seconds),
        sizeComparison(bundle),
      ],
      close: async () => {
        await publishers.close();
        closeDevices();
        rmSync(dir, { recursive: true });
      },
    };
  },
};
