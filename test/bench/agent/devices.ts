/**
 * The programs that are compared on a device, each started as people start it, and when each is online:
 * when the broker has its subscription.
 *
 * Units   milliseconds, bytes.
 * Errors  `Error` with what the program printed, when it ends instead.
 *
 * @module
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { enroll } from '@latchkey/agent/daemon';
import { createHttpClient, parseClientId, systemClock } from '@latchkey/shared';
import { Aedes } from 'aedes';
import { type Authority, startAuthority } from './authority.ts';

/** Root of the clone; this file is `test/bench/dist/agent/devices.js`. */
const ROOT = fileURLToPath(new URL('../../../../', import.meta.url));
const PROGRAM = join(ROOT, 'agent/bin/latchkey-agent.js');
const MOSQUITTO_SUB = '/usr/bin/mosquitto_sub';
const NOTHING = 'process.stdout.write("up"); setInterval(() => undefined, 1e9)';

const START_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 3000;

export interface RunningDevice {
  readonly pid: number;
  readonly onlineAfterMs: number;
  stop(): Promise<void>;
}

export interface Device {
  readonly name: string;
  start(): Promise<RunningDevice>;
}

/** A broker in this process, which says when a client has subscribed. */
async function startBroker() {
  const aedes = await Aedes.createBroker();
  const server = createServer(aedes.handle);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    subscribed: (clientId: string): Promise<void> =>
      new Promise((resolve) => {
        const look = (_: unknown, { id }: { readonly id: string }) => {
          if (id !== clientId) return;
          aedes.off('subscribe', look);
          resolve();
        };
        aedes.on('subscribe', look);
      }),
    close: () => {
      aedes.close();
      server.close();
    },
  };
}

/** By the log of the agent, where the broker is another process. */
export const isSaidToBeOnline = ({ stdout }: ChildProcess): Promise<void> =>
  new Promise((resolve) => {
    stdout?.on('data', (chunk: Buffer) => {
      if (chunk.toString().includes('"online"')) resolve();
    });
  });

export async function startDevice(
  command: readonly string[],
  isOnline: (child: ChildProcess) => Promise<unknown>,
): Promise<RunningDevice> {
  const [program = '', ...args] = command;
  const begun = performance.now();
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  const listen = (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-2000);
  };
  child.stdout.on('data', listen);
  child.stderr.on('data', listen);
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`${command.join(' ')} ended with ${code}: ${said}`);
  });
  ended.catch(() => undefined);
  const late = new AbortController();
  const timeout = delay(START_TIMEOUT_MS, undefined, { signal: late.signal }).then(() => {
    child.kill('SIGKILL');
    throw new Error(`${command.join(' ')} was not online in time: ${said}`);
  });
  timeout.catch(() => undefined);
  await Promise.race([isOnline(child), ended, timeout]);
  late.abort();
  return {
    pid: child.pid as number,
    onlineAfterMs: performance.now() - begun,
    stop: async () => {
      child.kill('SIGTERM');
      // mosquitto_sub goes on when it is told before it has its SUBACK.
      const killer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
      clearTimeout(killer);
    },
  };
}

export interface PreparedAgent {
  /** Path of its local socket. */
  readonly socket: string;
  readonly args: readonly string[];
  forgetToken(): void;
}

/** An enrolled agent in a folder of its own, with outbox, socket and one action. */
export async function prepareAgent(
  dir: string,
  { issuer, code }: Authority,
  broker: { readonly url: string; readonly clientId: string },
): Promise<PreparedAgent> {
  mkdirSync(dir, { recursive: true });
  const stateDir = join(dir, 'state');
  const clientId = parseClientId(broker.clientId);
  await enroll(
    { stateDir, issuer, clientId, readCode: async () => code },
    { http: createHttpClient(), clock: systemClock },
  );
  const config = join(dir, 'agent.toml');
  writeFileSync(
    config,
    `state_dir = "state"
[broker]
url = "${broker.url}"
[[action]]
name = "command"
filter = "devices/{client_id}/commands/+"
command = ["true"]
`,
  );
  return {
    socket: join(stateDir, 'agent.sock'),
    args: ['run', '--config', config],
    forgetToken: () => rmSync(join(stateDir, 'tokens.json'), { force: true }),
  };
}

/** The one file that a device installs, made into that folder. */
export function makeBundle(dir: string): string {
  execFileSync(process.execPath, [join(ROOT, 'agent/scripts/build-bundle.mjs'), dir]);
  symlinkSync(join(ROOT, 'node_modules'), join(dir, 'node_modules'));
  return join(dir, 'latchkey-agent.cjs');
}

interface Names {
  readonly node: string;
  readonly script: string;
  readonly bundle: string;
  readonly fresh: string;
  readonly dist: string;
  readonly mosquitto: string;
}

export const NAMES: Names = {
  node: 'bare Node',
  script: 'ten lines of MQTT.js',
  bundle: 'latchkey-agent, bundle',
  fresh: 'latchkey-agent, bundle, no token yet',
  dist: 'latchkey-agent, from node_modules',
  mosquitto: 'mosquitto_sub',
};

export async function prepareDevices(
  dir: string,
  bundle: string,
): Promise<{ readonly devices: readonly Device[]; close(): void }> {
  const broker = await startBroker();
  const url = `mqtt://127.0.0.1:${broker.port}`;
  const authority = await startAuthority();
  const node = process.execPath;
  const subscriber = (clientId: string, command: readonly string[]) => () =>
    startDevice(command, () => broker.subscribed(clientId));
  const agentOf = async (program: string, clientId: string) => {
    const agent = await prepareAgent(join(dir, clientId), authority, { url, clientId });
    return { ...agent, start: subscriber(clientId, [node, program, ...agent.args]) };
  };
  const fresh = await agentOf(bundle, 'fresh');
  const script = fileURLToPath(new URL('./mqtt-script.js', import.meta.url));
  const devices: Device[] = [
    {
      name: NAMES.node,
      start: () =>
        startDevice([node, '-e', NOTHING], ({ stdout }) => once(stdout as Readable, 'data')),
    },
    { name: NAMES.script, start: subscriber('script', [node, script, url]) },
    { name: NAMES.bundle, start: (await agentOf(bundle, 'bundle')).start },
    {
      name: NAMES.fresh,
      start: () => {
        fresh.forgetToken();
        return fresh.start();
      },
    },
    { name: NAMES.dist, start: (await agentOf(PROGRAM, 'dist')).start },
  ];
  if (existsSync(MOSQUITTO_SUB)) {
    const topic = 'devices/mosquitto/commands/+';
    const options = ['-p', `${broker.port}`, '-i', 'mosquitto', '-q', '1', '-t', topic];
    const start = subscriber('mosquitto', [MOSQUITTO_SUB, ...options]);
    devices.push({ name: NAMES.mosquitto, start });
  }
  return {
    devices,
    close: () => {
      broker.close();
      authority.close();
    },
  };
}
