/**
 * The local sockets of the agent: one in its state folder for all that the device may, and those of the
 * configuration, each with its own rules.
 *
 * Units   none.
 * Errors  `UsageError`: one cannot be opened; then none stays open.
 * Source  DESIGN 7; `agent.example.toml`.
 *
 * @module
 */
import type { ClientId } from '@latchkey/shared';
import type { SocketConfig } from '../config.js';
import { fillFilter } from '../topic-templates.js';
import { type Listener, openListener } from './listener.js';
import { type RouteDeps, respond } from './routes.js';
import type { Rules } from './rules.js';

/** Owner and group of the agent; its folder decides who comes so far. */
const DEFAULT_MODE = 0o660;

export interface LocalSockets {
  /** Tells who listens that the agent stops, and ends every connection. */
  close(): Promise<void>;
}

export async function openLocalSockets(
  defaultPath: string,
  configs: readonly SocketConfig[],
  deps: RouteDeps & { readonly clientId: ClientId },
): Promise<LocalSockets> {
  const { streams, logger, clientId } = deps;
  const listeners: Listener[] = [];
  const open = async (
    path: string,
    mode: number,
    group: string | undefined,
    rules: Rules,
  ): Promise<void> => {
    const listener = await openListener({
      ...{ path, mode, group, logger },
      onRequest: (request, response) => void respond(request, response, rules, deps),
    });
    listeners.push(listener);
  };
  const close = async (): Promise<void> => {
    streams.close();
    await Promise.all(listeners.map((listener) => listener.close()));
  };
  try {
    await open(defaultPath, DEFAULT_MODE, undefined, undefined);
    for (const { path, mode, group, rules } of configs) {
      const publish = rules.publish.map((filter) => fillFilter(filter, clientId));
      const subscribe = rules.subscribe.map((filter) => fillFilter(filter, clientId));
      await open(path, mode, group, { ...rules, publish, subscribe });
    }
    return { close };
  } catch (error) {
    await close();
    throw error;
  }
}
