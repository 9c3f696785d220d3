/**
 * How commands find the running agent: by its state folder, or by one of its sockets.
 *
 * Units   none.
 * Errors  `UsageError`: neither was named, or both. `UnreachableError`: no agent runs there.
 * Source  `client/connect-agent.ts`.
 *
 * @module
 */
import { resolve } from 'node:path';
import { UnreachableError, UsageError } from '@latchkey/shared';
import { AgentError } from '../client/agent-error.js';
import { type AgentClient, connectAgent } from '../client/connect-agent.js';
import { stateFile } from '../private-file.js';

export interface WhichAgent {
  readonly stateDir?: string | undefined;
  readonly socket?: string | undefined;
}

function socketPathOf({ stateDir, socket }: WhichAgent): string {
  if (socket !== undefined && stateDir === undefined) return resolve(socket);
  if (stateDir !== undefined && socket === undefined) return stateFile(resolve(stateDir), 'socket');
  throw new UsageError('name the agent by --state-dir or by --socket');
}

/** A client of an agent that does answer now; later it may be away for a while. */
export async function reachAgent(which: WhichAgent): Promise<AgentClient> {
  const socketPath = socketPathOf(which);
  const probe = connectAgent({ socketPath, timeoutMs: 0 });
  try {
    await probe.status();
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    throw new UnreachableError(`${error.message}; start: latchkey-agent run`, { cause: error });
  } finally {
    probe.close();
  }
  return connectAgent({ socketPath });
}
