/**
 * A real ssh-agent of OpenSSH, on a socket in a folder of its own.
 *
 * @module
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { runCommand, temporaryDir } from './processes.ts';

export interface SshAgentProcess {
  readonly dir: string;
  readonly socketPath: string;
  readonly env: Readonly<Record<string, string>>;
  /** Makes an Ed25519 key file with that comment and adds it; returns the path. */
  addKey(comment: string): string;
  add(file: string): void;
  lock(): Promise<void>;
  kill(): Promise<void>;
}

export async function startSshAgent(dir: string = temporaryDir()): Promise<SshAgentProcess> {
  const socketPath = join(dir, 'ssh-agent.sock');
  rmSync(socketPath, { force: true });
  const child = spawn('ssh-agent', ['-D', '-a', socketPath], { stdio: ['ignore', 'pipe', 'pipe'] });
  const closed = once(child, 'close');
  onTestFinished(() => void child.kill('SIGKILL'));
  await once(child.stdout, 'data'); // what a shell would evaluate, said once it listens
  if (!existsSync(socketPath)) throw new Error('ssh-agent made no socket');
  const env = { PATH: process.env.PATH ?? '', SSH_AUTH_SOCK: socketPath };
  const add = (file: string): void => {
    execFileSync('ssh-add', ['-q', file], { env, stdio: 'ignore' });
  };
  return {
    dir,
    socketPath,
    env,
    add,
    addKey: (comment) => {
      const file = join(dir, comment);
      execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', comment, '-f', file]);
      add(file);
      return file;
    },
    lock: async () => {
      // It reads the password from a terminal or, as here, from a program.
      const script = `export SSH_AUTH_SOCK=${socketPath} SSH_ASKPASS=/bin/pwd SSH_ASKPASS_REQUIRE=force; ssh-add -x`;
      const { exitCode, stderr } = await runCommand('bash', ['-c', script]);
      if (exitCode !== 0) throw new Error(`ssh-add -x: ${stderr}`);
    },
    kill: async () => {
      child.kill('SIGKILL');
      await closed;
    },
  };
}
