/**
 * The brokers that are measured, each a process of its own, and the issuer of their tokens.
 *
 * @module
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, connect, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type AskedProcess, startAsked } from '../asked-process.ts';
import {
  type BrokerAnswer,
  type BrokerQuestion,
  deviceId,
  type LoadAnswer,
  type LoadQuestion,
  PASSWORD,
  type Target,
} from './messages.ts';

export interface Broker {
  readonly pid: number;
  readonly target: Target;
  stop(): Promise<void>;
}

/** A broker on Aedes, which can be asked. */
export interface AedesBroker extends Broker {
  ask(question: BrokerQuestion): Promise<BrokerAnswer>;
}

export type Load = AskedProcess<LoadQuestion, LoadAnswer>;

const script = (name: string) => fileURLToPath(new URL(`./${name}`, import.meta.url));

export const startLoad = (): Promise<Load> =>
  startAsked(script('load.js'), {
    // Its own garbage collections would be seen as slowness of the broker.
    execArgv: ['--max-semi-space-size=128'],
  });

export interface IssuerServer {
  readonly issuer: string;
  publish(jwk: object): void;
  close(): void;
}

export async function startIssuer(): Promise<IssuerServer> {
  let keys: readonly object[] = [];
  const server = createHttpServer((request, response) => {
    const metadata = { issuer, token_endpoint: `${issuer}/token`, jwks_uri: `${issuer}/jwks` };
    response.end(JSON.stringify(request.url === '/jwks' ? { keys } : metadata));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    issuer,
    publish: (jwk) => {
      keys = [{ ...jwk, alg: 'EdDSA', use: 'sig' }];
    },
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

export type Kind = 'yes' | 'latchkey' | 'latchkey-logging' | 'latchkey-registry' | 'jose';

export async function startAedes(kind: Kind, issuer: string): Promise<AedesBroker> {
  const child: AskedProcess<BrokerQuestion, BrokerAnswer> = await startAsked(
    script('aedes-process.js'),
    { args: [kind, issuer], execArgv: ['--expose-gc'] },
  );
  const { port } = await child.ask({ type: 'port' });
  const target: Target = { port: port as number, credential: 'token' };
  return { pid: child.pid, target, ask: child.ask, stop: child.stop };
}

const MOSQUITTO = '/usr/sbin/mosquitto';

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function isListening(port: number): Promise<boolean> {
  const socket = connect({ port, host: '127.0.0.1' });
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/** Ten patterns, as the tokens have ten scopes. */
const ACL = `pattern read devices/%u/commands/+
pattern read devices/%u/config/#
pattern read devices/%u/firmware/+/chunks
pattern read fleet/announcements/#
pattern write devices/%u/status
pattern write devices/%u/events/+
pattern write devices/%u/alarms/+/raised
pattern readwrite devices/%u/twin/#
pattern write devices/%u/logs/#
pattern readwrite devices/+/telemetry/#
`;

/** `undefined` where it is not installed. Each device is a user with a password. */
export async function startMosquitto(
  dir: string,
  users: readonly number[],
): Promise<Broker | undefined> {
  if (!existsSync(MOSQUITTO)) return undefined;
  const port = await freePort();
  const [passwords, acl, config] = ['passwords', 'acl', 'mosquitto.conf'].map((name) =>
    join(dir, name),
  ) as [string, string, string];
  writeFileSync(passwords, users.map((index) => `${deviceId(index)}:${PASSWORD}\n`).join(''));
  execFileSync('mosquitto_passwd', ['-U', passwords]);
  writeFileSync(acl, ACL);
  const lines = [
    `listener ${port} 127.0.0.1`,
    'allow_anonymous false',
    `password_file ${passwords}`,
    `acl_file ${acl}`,
    'max_queued_messages 0',
    'set_tcp_nodelay true',
    'log_type none',
    'user root',
  ];
  writeFileSync(config, `${lines.join('\n')}\n`);
  const child = spawn(MOSQUITTO, ['-c', config], { stdio: 'ignore' });
  for (let tries = 0; !(await isListening(port)); tries += 1) {
    if (child.exitCode !== null || tries > 100) throw new Error('mosquitto did not start');
    await delay(50);
  }
  return {
    pid: child.pid as number,
    target: { port, credential: 'password' },
    stop: async () => {
      child.kill('SIGTERM');
      if (child.exitCode === null) await once(child, 'close');
    },
  };
}
