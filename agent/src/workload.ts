/**
 * The sources and actions that the configuration gives the agent. A new configuration replaces those that
 * differ; the others do not notice, so that no reading comes twice and no command runs again.
 *
 * Units   none.
 * Errors  `failed` rejects when a source ends by a bug.
 * Source  DESIGN 7.
 *
 * @module
 */
import { type ActionDeps, createActions } from './actions.js';
import type { ActionConfig, AgentConfig, SourceConfig } from './config.js';
import { runSource, type SourceDeps } from './sources.js';
import type { Subscriptions } from './subscriptions.js';

type Work = Pick<AgentConfig, 'sources' | 'actions' | 'workingDir'>;

export interface Workload {
  /** Starts what is new, and ends what is no more. Messages that an action has taken in are still run. */
  replace(work: Work): void;
  /** Never resolves. */
  readonly failed: Promise<never>;
  /** Resolves when all has ended, which the signal brings about. */
  ended(): Promise<void>;
}

interface Running {
  stop(): void;
}

/** Starts the entries that are new, stops those that are gone, and leaves the equal ones alone. */
function exchange<Entry>(
  running: Map<string, Running>,
  entries: readonly Entry[],
  keyOf: (entry: Entry) => string,
  start: (entry: Entry) => Running,
): void {
  const wanted = new Map(entries.map((entry) => [keyOf(entry), entry]));
  const gone = [...running].filter(([key]) => !wanted.has(key));
  // The new ones first: a filter that both have stays subscribed, and no message is lost between.
  for (const [key, entry] of wanted) {
    if (!running.has(key)) running.set(key, start(entry));
  }
  for (const [key, { stop }] of gone) {
    running.delete(key);
    stop();
  }
}

export function createWorkload(
  deps: Omit<ActionDeps & SourceDeps, 'workingDir'> & { readonly subscriptions: Subscriptions },
): Workload {
  const { subscriptions, signal: outer } = deps;
  const sources = new Map<string, Running>();
  const actions = new Map<string, Running>();
  const endings = new Set<Promise<void>>();
  let fail: (error: unknown) => void = () => undefined;
  const failed = new Promise<never>((_resolve, reject) => {
    fail = reject;
  });
  failed.catch(() => undefined); // whoever runs the agent waits for it, or has ended

  const note = (ending: Promise<void>): void => {
    const noted = ending.catch(fail).finally(() => endings.delete(noted));
    endings.add(noted);
  };

  const startSource = (source: SourceConfig, workingDir: string): Running => {
    const over = new AbortController();
    const signal = AbortSignal.any([outer, over.signal]);
    note(runSource(source, { ...deps, workingDir }, signal));
    return { stop: () => over.abort() };
  };

  const startAction = (action: ActionConfig, workingDir: string): Running => {
    const {
      subscriptions: filters,
      handle,
      idle,
    } = createActions([action], {
      ...deps,
      workingDir,
    });
    const leave = subscriptions.join({
      filters,
      onMessage: ({ topic, payload }) => handle(topic, payload),
    });
    const stop = (): void => {
      leave();
      note(idle());
    };
    outer.addEventListener('abort', stop, { once: true });
    return {
      stop: () => {
        outer.removeEventListener('abort', stop);
        stop();
      },
    };
  };

  return {
    replace: ({ sources: nextSources, actions: nextActions, workingDir }) => {
      const keyOf = (entry: object): string => JSON.stringify([workingDir, entry]);
      exchange(sources, nextSources, keyOf, (source) => startSource(source, workingDir));
      exchange(actions, nextActions, keyOf, (action) => startAction(action, workingDir));
    },
    failed,
    ended: async () => {
      while (endings.size > 0) await Promise.all(endings);
    },
  };
}
