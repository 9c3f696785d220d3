/**
 * Actions: a message on a topic runs a command; what the command prints, or how it ended, is published.
 *
 * Each action runs one message at a time in the order they came, since `on` and `off` must not pass
 * each other. When too many wait, the oldest is dropped: what was asked for last counts.
 *
 * Units   seconds, sizes in bytes; `at` in a result is a NumericDate.
 * Errors  none leave: a failed, refused or dropped run is counted and logged.
 * Source  DESIGN 1; invariants I1 and I11.
 *
 * @module
 */
import {
  type ClientId,
  type Clock,
  type Logger,
  matches,
  parseTopicName,
  type TopicFilter,
  type TopicName,
} from '@latchkey/shared';
import { type CommandResult, runCommand } from './child-process.js';
import type { ActionConfig } from './config.js';
import { OutboxFullError, PublishRefusedError } from './mqtt-errors.js';
import { encodePayload } from './payload.js';
import type { Publisher } from './publisher.js';
import type { StateKeeper } from './state.js';
import { fillFilter, fillName } from './topic-templates.js';

const MAX_PAYLOAD_BYTES = 256 * 1024;
const MAX_OUTPUT_BYTES = 256 * 1024;

export interface ActionDeps {
  readonly clientId: ClientId;
  readonly publisher: Publisher;
  readonly state: StateKeeper;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly workingDir: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

export interface Actions {
  readonly subscriptions: readonly { readonly filter: TopicFilter; readonly qos: 0 | 1 }[];
  /** Starts every action whose filter matches; returns at once. */
  handle(topic: string, payload: Buffer): void;
  /** Resolves when no command runs. */
  idle(): Promise<void>;
}

interface Order {
  readonly topic: TopicName;
  readonly payload: Buffer;
}

/** What is published after a run; `undefined`: nothing. */
function answerOf(
  { publishes, format }: ActionConfig,
  { topic }: Order,
  { end, exitCode, output, errorText }: CommandResult,
  clock: Clock,
): Buffer | undefined {
  if (publishes === 'result') {
    const result = {
      topic,
      end,
      exit_code: exitCode,
      output: output.toString('utf8'),
      error: errorText,
      at: clock.now(),
    };
    return encodePayload(result, format);
  }
  if (exitCode !== 0) return undefined;
  return Buffer.from(output.toString('latin1').replace(/\r?\n$/, ''), 'latin1');
}

/** One action: its queue, and the one command that runs. */
function createAction(action: ActionConfig, deps: ActionDeps) {
  const { clientId, publisher, state, clock, logger, workingDir, environment, signal } = deps;
  const { name, qos, isRetained } = action;
  const filter = fillFilter(action.filter, clientId);
  const target = action.topic === undefined ? undefined : fillName(action.topic, clientId);
  const allowed = action.payloads?.map((text) => Buffer.from(text));
  const waiting: Order[] = [];
  let running: Promise<void> | undefined;

  const publish = async (payload: Buffer): Promise<void> => {
    if (target === undefined) return;
    try {
      await publisher.publish({ topic: target, qos, isRetained, payload });
    } catch (error) {
      if (!(error instanceof OutboxFullError || error instanceof PublishRefusedError)) throw error;
      logger.warn(
        { event: 'action.unpublished', name, topic: target, detail: error.message },
        'answer of an action not published',
      );
    }
  };

  const run = async (order: Order): Promise<void> => {
    const result = await runCommand({
      command: action.command,
      input: order.payload,
      timeoutMs: action.timeoutSeconds * 1000,
      maxOutputBytes: MAX_OUTPUT_BYTES,
      workingDir,
      // In the environment it is a value whatever it holds; in argv it could be taken for an option.
      environment: { ...environment, LATCHKEY_TOPIC: order.topic },
      clock,
      signal,
    });
    const { end, exitCode, errorText } = result;
    state.count('actions');
    const fields = { event: 'action.run', name, exitCode };
    if (exitCode === 0) {
      logger.info(fields, 'action run');
    } else {
      state.count('failedActions');
      state.noteError(`action ${name} failed (${exitCode ?? end})`);
      logger.warn({ ...fields, end, ...(errorText && { detail: errorText }) }, 'action failed');
    }
    const answer = answerOf(action, order, result, clock);
    if (answer !== undefined) await publish(answer);
  };

  const runAll = async (): Promise<void> => {
    for (let order = waiting.shift(); order !== undefined; order = waiting.shift()) {
      if (signal.aborted) break;
      try {
        await run(order);
      } catch (error) {
        state.noteError(`action ${name} failed`);
        logger.error({ event: 'action.failed', name, err: error }, 'action failed');
      }
    }
    running = undefined; // in the same turn as the last look at the queue
  };

  return {
    subscription: { filter, qos },
    push: (order: Order): void => {
      if (!matches(filter, order.topic)) return;
      if (allowed !== undefined && !allowed.some((payload) => payload.equals(order.payload))) {
        state.count('refusedActions');
        state.noteError(`action ${name}: a payload that is not among its payloads`);
        logger.warn({ event: 'action.refused', name }, 'payload is not among those of the action');
        return;
      }
      if (waiting.length >= action.maxWaiting) {
        waiting.shift();
        state.count('droppedActions');
        logger.warn({ event: 'action.dropped', name }, 'too many messages wait');
      }
      waiting.push(order);
      running ??= runAll();
    },
    idle: async (): Promise<void> => running,
  };
}

export function createActions(configs: readonly ActionConfig[], deps: ActionDeps): Actions {
  const { state, logger } = deps;
  const actions = configs.map((config) => createAction(config, deps));
  return {
    subscriptions: actions.map(({ subscription }) => subscription),
    handle: (text, payload) => {
      if (payload.length > MAX_PAYLOAD_BYTES) {
        state.count('droppedActions');
        logger.warn(
          { event: 'message.too-large', topic: text },
          'message is too large for actions',
        );
        return;
      }
      let topic: TopicName;
      try {
        topic = parseTopicName(text);
      } catch {
        return; // no valid filter matches it
      }
      for (const action of actions) action.push({ topic, payload });
    },
    idle: async () => {
      await Promise.all(actions.map(({ idle }) => idle()));
    },
  };
}
