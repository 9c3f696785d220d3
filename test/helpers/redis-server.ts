/**
 * A real Redis on a free port, with a password, that a test can stop and start again.
 *
 * @module
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { freePort, temporaryDir } from './processes.ts';

/** Continuous integration installs it; a machine without it skips what needs it. */
export const hasRedis = spawnSync('redis-server', ['--version']).status === 0;

export const REDIS_PASSWORD = 'p@ss/word:of redis';

export interface RedisServer {
  readonly port: number;
  /** Holds the password, mode 0600. */
  readonly passwordFile: string;
  start(): Promise<void>;
  /** Ends it with SIGKILL; what it stored is gone. */
  kill(): Promise<void>;
}

async function isListening(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

export async function startRedis(): Promise<RedisServer> {
  const dir = temporaryDir();
  const port = await freePort();
  const passwordFile = join(dir, 'password');
  writeFileSync(passwordFile, `${REDIS_PASSWORD}\n`, { mode: 0o600 });
  const configFile = join(dir, 'redis.conf');
  writeFileSync(
    configFile,
    `bind 127.0.0.1\nport ${port}\nsave ""\ndir ${dir}\nrequirepass "${REDIS_PASSWORD}"\n`,
  );
  let child: ChildProcess | undefined;
  const kill = async (): Promise<void> => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const closed = once(child, 'exit');
    child.kill('SIGKILL');
    await closed;
  };
  const start = async (): Promise<void> => {
    child = spawn('redis-server', [configFile], { stdio: ['ignore', 'pipe', 'ignore'] });
    for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
      if (String(chunk).includes('Ready to accept connections')) break;
    }
    if (!(await isListening(port))) throw new Error('redis-server does not listen');
  };
  onTestFinished(kill);
  await start();
  return { port, passwordFile, start, kill };
}
