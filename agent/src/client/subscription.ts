/**
 * A subscription of a program: messages one after the other, also when the agent restarts meanwhile.
 *
 * Units   counts.
 * Errors  `AgentError` from the iteration: refused, or malformed.
 * Source  `local/subscribe.ts`.
 *
 * @module
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { AgentError } from './agent-error.js';
import { type AgentEvent, readEvents } from './events.js';
import { pauseMs, type Requests } from './requests.js';

/** Messages that were read and not taken yet; the others wait at the agent, which bounds them too. */
const MAX_BUFFERED = 100;

export interface ReceivedMessage {
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: number;
  /** Whether the broker had kept it from before. */
  readonly isRetained: boolean;
}

export interface SubscribeOptions {
  /** Highest quality of service. Default 1. */
  readonly qos?: 0 | 1 | 2;
  /** Ends the subscription. */
  readonly signal?: AbortSignal;
}

export interface Subscription extends AsyncIterable<ReceivedMessage> {
  /** Resolves once the broker sends what matches; rejects when it never will. */
  readonly ready: Promise<void>;
  /** Messages that are missing because the program read too slowly. */
  readonly missed: number;
  close(): void;
}

function toMessage({ data }: AgentEvent): ReceivedMessage {
  const { topic, qos, retain, payload, payload_base64: base64 } = data;
  return {
    topic: String(topic),
    payload:
      typeof base64 === 'string' ? Buffer.from(base64, 'base64') : Buffer.from(String(payload)),
    qos: Number(qos),
    isRetained: retain === true,
  };
}

/** Whether trying again may help. */
const isPassing = (error: unknown): boolean =>
  !(error instanceof AgentError) || error.code === 'unavailable' || error.code === 'failed';

export function openSubscription(
  requests: Requests,
  filters: readonly string[],
  { qos = 1, signal }: SubscribeOptions,
): Subscription {
  const query = new URLSearchParams({ qos: `${qos}` });
  for (const filter of filters) query.append('filter', filter);
  const over = new AbortController();
  const ends = [over.signal, requests.signal, ...(signal === undefined ? [] : [signal])];
  const ended = AbortSignal.any(ends);
  const buffer: ReceivedMessage[] = [];
  const ungranted = new Set(filters);
  let missed = 0;
  let failure: AgentError | undefined;
  let wakeReader = (): void => undefined;
  let wakeWriter = (): void => undefined;
  let grant = (): void => undefined;
  let deny = (_error: AgentError): void => undefined;
  const ready = new Promise<void>((resolve, reject) => {
    grant = resolve;
    deny = reject;
  });
  ready.catch(() => undefined); // the iteration tells it too

  const take = async (event: AgentEvent): Promise<void> => {
    if (event.event === 'message') {
      buffer.push(toMessage(event));
      wakeReader();
      while (buffer.length >= MAX_BUFFERED && !ended.aborted) {
        await new Promise<void>((resolve) => {
          wakeWriter = resolve;
        });
      }
    } else if (event.event === 'subscribed') {
      ungranted.delete(String(event.data.filter));
      if (ungranted.size === 0) grant();
    } else if (event.event === 'dropped') {
      missed += Number(event.data.messages);
    } else if (event.event === 'closed' && event.data.error === 'refused') {
      throw new AgentError('refused', String(event.data.error_description));
    }
  };

  const pump = async (): Promise<void> => {
    for (let tries = 0; !ended.aborted; tries += 1) {
      try {
        const response = await requests.open(`/subscribe?${query}`, ended);
        tries = 0;
        for await (const event of readEvents(response)) await take(event);
      } catch (error) {
        if (!isPassing(error)) throw error;
      }
      await sleep(pauseMs(tries), undefined, { signal: ended }).catch(() => undefined);
    }
  };

  ended.addEventListener('abort', () => {
    wakeReader();
    wakeWriter();
    deny(new AgentError('closed', 'the subscription was closed'));
  });
  pump().catch((error: unknown) => {
    if (ended.aborted) return;
    failure = error instanceof AgentError ? error : new AgentError('failed', String(error));
    deny(failure);
    wakeReader();
  });

  const next = async (): Promise<IteratorResult<ReceivedMessage, undefined>> => {
    for (;;) {
      if (ended.aborted) return { done: true, value: undefined };
      const message = buffer.shift();
      if (message !== undefined) {
        wakeWriter();
        return { done: false, value: message };
      }
      if (failure !== undefined) throw failure;
      await new Promise<void>((resolve) => {
        wakeReader = resolve;
      });
    }
  };

  return {
    ready,
    get missed() {
      return missed;
    },
    close: () => over.abort(),
    [Symbol.asyncIterator]: () => ({
      next,
      return: async () => {
        over.abort();
        return { done: true, value: undefined };
      },
    }),
  };
}
