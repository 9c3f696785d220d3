/**
 * What a new configuration changes in an agent that runs, and what has to wait for its next start.
 *
 * Units   none.
 * Errors  none.
 * Source  DESIGN 7; `sd_notify(3)` knows reloading as a state of its own.
 *
 * @module
 */
import type { AgentConfig } from './config.js';

export interface ReloadPlan {
  /** What is in force from now on. */
  readonly config: AgentConfig;
  /** Parts that differ and are applied; named as in the file. */
  readonly applied: readonly string[];
  /** Parts that differ and stay as they are until the next start. */
  readonly needsRestart: readonly string[];
}

type Part = keyof AgentConfig;

/** All other parts are read once, at the start. */
const APPLICABLE: ReadonlyMap<Part, string> = new Map<Part, string>([
  ['logLevel', 'log_level'],
  ['broker', 'broker'],
  ['outbox', 'outbox'],
  ['sources', 'source'],
  ['actions', 'action'],
  ['workingDir', 'the folder of the file'],
]);
const FIXED: ReadonlyMap<Part, string> = new Map<Part, string>([
  ['stateDir', 'state_dir'],
  ['sockets', 'socket'],
]);

const isSame = (one: unknown, other: unknown): boolean =>
  JSON.stringify(one) === JSON.stringify(other);

export function planReload(now: AgentConfig, next: AgentConfig): ReloadPlan {
  const changed = (Object.keys(next) as Part[]).filter((part) => !isSame(now[part], next[part]));
  const fixed = changed.filter((part) => !APPLICABLE.has(part));
  return {
    config: { ...next, ...Object.fromEntries(fixed.map((part) => [part, now[part]])) },
    applied: changed.flatMap((part) => APPLICABLE.get(part) ?? []),
    needsRestart: fixed.map((part) => FIXED.get(part) ?? part),
  };
}
