/**
 * Talks to the process that makes load.
 *
 * @module
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { FromLoad, Order, Outcome, ToLoad } from './messages.ts';

export interface Load {
  readonly pid: number;
  /** Makes keys of that many devices; returns `x` of each public JWK. */
  keys(count: number): Promise<readonly string[]>;
  run(order: Order): Promise<Outcome>;
  stop(): void;
}

async function ask(child: ChildProcess, message: ToLoad): Promise<FromLoad> {
  child.send(message);
  const [reply] = (await once(child, 'message')) as [FromLoad];
  if (reply.type === 'failed') throw new Error(reply.message);
  return reply;
}

export function startLoad(): Load {
  const child = fork(fileURLToPath(new URL('./load.js', import.meta.url)), {
    serialization: 'advanced',
    // Its own garbage collections would be seen as latency of the server.
    execArgv: ['--max-semi-space-size=128'],
  });
  return {
    pid: child.pid as number,
    keys: async (count) => {
      const reply = await ask(child, { type: 'keys', count });
      return reply.type === 'keys' ? reply.xs : [];
    },
    run: async (order) => {
      const reply = await ask(child, { type: 'run', order });
      if (reply.type !== 'done') throw new Error(`unexpected ${reply.type}`);
      return reply.outcome;
    },
    stop: () => void child.kill(),
  };
}
