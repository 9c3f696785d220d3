/**
 * `GET /subscribe?filter=F&filter=G&qos=1`: messages as server-sent events, until the program goes.
 *
 * Events: `subscribed` `{filter}`, once the broker sends what matches. `message` `{topic, qos, retain,
 * payload | payload_base64}`, text as it is, other bytes in base64. `dropped` `{messages}`: the program
 * read too slowly, so many are missing here. `closed` `{error, error_description}`, the last. A comment every
 * 15 seconds shows that the agent lives.
 *
 * Units   milliseconds, sizes in bytes.
 * Errors  `RequestError`: the request is malformed, not allowed (403), or one too many (503).
 * Source  https://html.spec.whatwg.org/multipage/server-sent-events.html; invariants I4 and I11.
 *
 * @module
 */
import type { ServerResponse } from 'node:http';
import {
  type Clock,
  FormatError,
  type Logger,
  parseTopicFilter,
  type TopicFilter,
} from '@latchkey/shared';
import type { Qos } from '../config.js';
import type { Message } from '../mqtt-connection.js';
import type { StateKeeper } from '../state.js';
import type { Subscriptions } from '../subscriptions.js';
import { invalid, RequestError } from './answer.js';
import { maySubscribe, type Rules } from './rules.js';

const MAX_FILTERS = 16;
/** Programs that listen at one socket; its other connections stay free for what is short. */
const MAX_STREAMS = 48;
const HEARTBEAT_MS = 15_000;
/** A reader that takes nothing for so many heartbeats is gone. */
const STALLED_HEARTBEATS = 8;
/** What may wait for a reader, beyond the message that passes the bound. */
const MAX_BACKLOG_BYTES = 256 * 1024;

export interface SubscribeDeps {
  readonly subscriptions: Pick<Subscriptions, 'join' | 'refusalOf'>;
  readonly state: Pick<StateKeeper, 'count'>;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface Streams {
  /** Answers the request, and goes on until the reader or the agent ends. */
  open(query: URLSearchParams, rules: Rules, response: ServerResponse): void;
  readonly count: number;
  /** Tells every reader that the agent stops. */
  close(): void;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function payloadOf(payload: Buffer): object {
  try {
    return { payload: utf8.decode(payload) };
  } catch {
    return { payload_base64: payload.toString('base64') };
  }
}

const eventText = (event: string, data: object): string =>
  `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`; // JSON has no line ends

const messageText = ({ topic, payload, qos, isRetained }: Message): string =>
  eventText('message', { topic, qos, retain: isRetained, ...payloadOf(payload) });

function parseQuery(query: URLSearchParams): { filters: TopicFilter[]; qos: Qos } {
  for (const name of query.keys()) {
    if (name !== 'filter' && name !== 'qos') throw invalid('known parameters are filter and qos');
  }
  const texts = new Set(query.getAll('filter'));
  if (texts.size === 0) throw invalid('name at least one filter: GET /subscribe?filter=a/b');
  if (texts.size > MAX_FILTERS) throw invalid(`must not name more than ${MAX_FILTERS} filters`);
  const [qos = '1', ...more] = query.getAll('qos');
  if (!/^[012]$/.test(qos) || more.length > 0) throw invalid('qos must be 0, 1 or 2, once');
  try {
    return {
      filters: [...texts].map((text) => parseTopicFilter(text, 'filter')),
      qos: Number(qos) as Qos,
    };
  } catch (error) {
    if (error instanceof FormatError) throw invalid(error.message);
    throw error;
  }
}

export function createStreams(deps: SubscribeDeps): Streams {
  const { subscriptions, state, clock, logger } = deps;
  /** How to close each stream, and by whose rules it runs: one socket cannot fill another's places. */
  const closers = new Map<(error: string, description: string) => void, Rules>();
  /** One text for all readers of a message. */
  const texts = new WeakMap<Message, string>();

  const textOf = (message: Message): string => {
    const text = texts.get(message) ?? messageText(message);
    texts.set(message, text);
    return text;
  };

  const checkRights = (filters: readonly TopicFilter[], qos: Qos, rules: Rules): void => {
    for (const filter of filters) {
      if (!maySubscribe(rules, filter)) {
        const text = `the rules of this socket do not allow to subscribe to ${filter}`;
        throw new RequestError(403, 'refused', text);
      }
      const detail = subscriptions.refusalOf(filter, qos);
      if (detail === undefined) continue;
      const text = `this device has no right to subscribe to ${filter}: ${detail}`;
      throw new RequestError(403, 'refused', text);
    }
  };

  const stream = (
    { filters, qos }: { readonly filters: readonly TopicFilter[]; readonly qos: Qos },
    rules: Rules,
    response: ServerResponse,
  ): void => {
    const over = new AbortController();
    let dropped = 0;
    let leave = (): void => undefined;

    const end = (): void => {
      if (over.signal.aborted) return;
      over.abort();
      closers.delete(close);
      leave();
    };
    const close = (error: string, description: string): void => {
      if (over.signal.aborted) return;
      end();
      response.end(eventText('closed', { error, error_description: description }));
    };
    const isBehind = (): boolean => response.writableLength > MAX_BACKLOG_BYTES;
    const tellDropped = (): void => {
      if (dropped === 0 || over.signal.aborted) return;
      response.write(eventText('dropped', { messages: dropped }));
      dropped = 0;
    };

    const beat = async (): Promise<void> => {
      let stalled = 0;
      for (;;) {
        await clock.sleep(HEARTBEAT_MS, over.signal);
        if (!response.writableNeedDrain) response.write(': alive\n\n');
        stalled = isBehind() ? stalled + 1 : 0;
        if (stalled < STALLED_HEARTBEATS) continue;
        logger.warn(
          { event: 'subscriber.stalled', filters },
          'a subscriber that does not read was ended',
        );
        end();
        response.destroy();
      }
    };

    response.writeHead(200, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
    });
    response.flushHeaders();
    response.on('close', end);
    response.on('drain', tellDropped);
    closers.set(close, rules);
    leave = subscriptions.join({
      filters: filters.map((filter) => ({ filter, qos })),
      onMessage: (message) => {
        if (isBehind()) {
          if (dropped === 0)
            logger.debug({ event: 'subscriber.slow', filters }, 'a subscriber reads too slowly');
          dropped += 1;
          state.count('droppedDeliveries');
          return;
        }
        tellDropped();
        response.write(textOf(message));
        state.count('delivered');
      },
      onGranted: (filter) => {
        if (!over.signal.aborted) response.write(eventText('subscribed', { filter }));
      },
      onRefused: (filter, detail) => close('refused', `no subscription to ${filter}: ${detail}`),
    });
    beat().catch(() => undefined); // ends with the stream
  };

  return {
    open: (query, rules, response) => {
      const { filters, qos } = parseQuery(query);
      checkRights(filters, qos, rules);
      if ([...closers.values()].filter((other) => other === rules).length >= MAX_STREAMS) {
        const text = `${MAX_STREAMS} programs listen at this socket already`;
        throw new RequestError(503, 'temporarily_unavailable', text);
      }
      stream({ filters, qos }, rules, response);
    },
    get count() {
      return closers.size;
    },
    close: () => {
      for (const close of [...closers.keys()]) close('stopping', 'the agent stops');
    },
  };
}
