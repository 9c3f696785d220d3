/**
 * Actions: a message on a topic runs a command; what the command prints is published.
 *
 * Each action runs one message at a time in the order they came, since `on` and `off` must not pass
 * each other.
 *
 * Units   seconds, sizes in bytes.
 * Errors  none leave: a failed or dropped run is counted and logged.
 * Source  DESIGN 1; invariants I1 and I11.
 *
 * @module
 */
import { type Clock, type Logger, matches, parseTopicName, type TopicName } from '@latchkey/shared';
import { runCommand } from './child-process.js';
import type { ActionConfig } from './config.js';
import { OutboxFullError, PublishRefusedError } from './mqtt-errors.js';
import type { Publisher } from './publisher.js';
import type { StateKeeper } from './state.js';

/** Messages that wait for one action; more are dropped. */
const MAX_WAITING = 16;
const MAX_PAYLOAD_BYTES = 256 * 1024;
const MAX_OUTPUT_BYTES = 256 * 1024;

export interface ActionDeps {
  readonly publisher: Publisher;
  readonly state: StateKeeper;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly workingDir: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

export interface Actions {
  /** Starts every action whose filter matches; returns at once. */
  handle(topic: string, payload: Buffer): void;
  /** Resolves when no command runs. */
  idle(): Promise<void>;
}

export function createActions(configs: readonly ActionConfig[], deps: ActionDeps): Actions {
  const { publisher, state, clock, logger, signal } = deps;

  const publishOutput = async (action: ActionConfig, output: Buffer): Promise<void> => {
    const { topic, qos, isRetained } = action;
    if (topic === undefined) return;
    const text = output.toString('latin1').replace(/\r?\n$/, '');
    try {
      await publisher.publish({ topic, qos, isRetained, payload: Buffer.from(text, 'latin1') });
    } catch (error) {
      if (!(error instanceof OutboxFullError || error instanceof PublishRefusedError)) throw error;
      logger.warn(
        { event: 'action.unpublished', name: action.name, topic, detail: error.message },
        'output of an action not published',
      );
    }
  };

  const run = async (action: ActionConfig, topic: TopicName, payload: Buffer): Promise<void> => {
    if (signal.aborted) return;
    const { workingDir, environment } = deps;
    const { end, exitCode, output, errorText } = await runCommand({
      command: action.command,
      input: payload,
      timeoutMs: action.timeoutSeconds * 1000,
      maxOutputBytes: MAX_OUTPUT_BYTES,
      workingDir,
      // In the environment it is a value whatever it holds; in argv it could be taken for an option.
      environment: { ...environment, LATCHKEY_TOPIC: topic },
      clock,
      signal,
    });
    state.count('actions');
    const fields = { event: 'action.run', name: action.name, exitCode };
    if (exitCode === 0) {
      logger.info(fields, 'action run');
      await publishOutput(action, output);
      return;
    }
    state.count('failedActions');
    state.noteError(`action ${action.name} failed (${exitCode ?? end})`);
    logger.warn({ ...fields, end, ...(errorText && { detail: errorText }) }, 'action failed');
  };

  const queues = configs.map((action) => {
    let waiting = 0;
    let last: Promise<void> = Promise.resolve();
    return {
      action,
      push: (topic: TopicName, payload: Buffer): void => {
        if (waiting >= MAX_WAITING) {
          state.count('droppedActions');
          logger.warn({ event: 'action.dropped', name: action.name }, 'too many messages wait');
          return;
        }
        waiting += 1;
        last = last
          .then(() => run(action, topic, payload))
          .catch((error: unknown) => {
            state.noteError(`action ${action.name} failed`);
            logger.error(
              { event: 'action.failed', name: action.name, err: error },
              'action failed',
            );
          })
          .finally(() => {
            waiting -= 1;
          });
      },
      idle: () => last,
    };
  });

  return {
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
      for (const { action, push } of queues)
        if (matches(action.filter, topic)) push(topic, payload);
    },
    idle: async () => {
      await Promise.all(queues.map(({ idle }) => idle()));
    },
  };
}
