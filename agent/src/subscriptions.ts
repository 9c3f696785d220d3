/**
 * Subscriptions of the device that actions and programs share: one for each filter at the broker, however
 * many ask for it, ended when the last leaves.
 *
 * A SUBSCRIBE brings the retained messages again. A newcomer has to have them, so the filter is asked for
 * once more; whoever had a message on that topic already does not get them a second time.
 *
 * Units   counts.
 * Errors  `UnreachableError` from `attach` and `refresh`: the connection ended meanwhile.
 * Source  MQTT 3.1.1 3.8.4 (a repeated SUBSCRIBE), 4.7; STANDARDS 4.4 (SUBACK 128); invariants I4 and I11.
 *
 * @module
 */
import {
  decide,
  type Logger,
  matches,
  parseTopicName,
  type TopicFilter,
  type TopicName,
  type TopicRights,
} from '@latchkey/shared';
import type { Qos } from './config.js';
import type { Message, MqttConnection } from './mqtt-connection.js';
import type { StateKeeper } from './state.js';
import type { KeptFilters } from './subscription-file.js';

export interface Subscriber {
  readonly filters: readonly { readonly filter: TopicFilter; readonly qos: Qos }[];
  /** Each message once, however many of the filters match. Must not throw. */
  readonly onMessage: (message: Message) => void;
  /** The broker sends what matches the filter from now on. */
  readonly onGranted?: (filter: TopicFilter) => void;
  /** The filter is not asked for again before the next token. */
  readonly onRefused?: (filter: TopicFilter, detail: string) => void;
}

export interface Subscriptions {
  /** Subscribes now, or when the broker can be reached. Returns how to leave. */
  join(subscriber: Subscriber): () => void;
  /** Why the present token does not allow the filter; `undefined` also when it does not say. */
  refusalOf(filter: TopicFilter, qos: Qos): string | undefined;
  /** What the next token allows; what was refused may be asked for again. */
  setRights(rights: TopicRights | undefined): void;
  /** Asks this connection for what it does not know yet; resolves when all was answered. */
  attach(connection: MqttConnection): Promise<void>;
  /** Asks for what a new token may allow. */
  refresh(): Promise<void>;
  detach(): void;
  /** Hands a message to everyone with a filter that matches. */
  deliver(message: Message): void;
}

interface Member {
  readonly subscriber: Subscriber;
  /** Topics of which it had a message: a retained one is no news there. */
  readonly seenTopics: Set<string>;
}

interface Entry {
  readonly filter: TopicFilter;
  readonly members: Map<Member, Qos>;
  /** Members that still have to get the retained messages. */
  readonly newcomers: Set<Member>;
  /** What the broker keeps for us. */
  grantedQos: Qos | undefined;
  /** How often the connection ended in place of an answer. */
  closes: number;
}

/** Beyond it a retained message may come twice. */
const MAX_SEEN_TOPICS = 1000;
/** Refused filters that are remembered until the next token. */
const MAX_REFUSED = 1024;
/** Some brokers refuse by closing; one close may be chance. */
const CLOSES_UNTIL_REFUSED = 3;

const wantedQos = ({ members }: Entry): Qos => Math.max(...members.values()) as Qos;

export function createSubscriptions(deps: {
  readonly state: Pick<StateKeeper, 'count' | 'noteError'>;
  readonly logger: Logger;
  /** Of a broker that keeps the session. */
  readonly kept?: KeptFilters | undefined;
}): Subscriptions {
  const { state, logger, kept } = deps;
  const entries = new Map<TopicFilter, Entry>();
  /** What the broker refused to the present token, and why. */
  const refused = new Map<TopicFilter, string>();
  let rights: TopicRights | undefined;
  let connection: MqttConnection | undefined;
  let underway: Promise<void> | undefined;

  const refusalOf = (filter: TopicFilter, qos: Qos): string | undefined => {
    if (rights === undefined) return refused.get(filter);
    const decision = decide(rights, { action: 'subscribe', topic: filter, qos });
    return decision.allowed ? refused.get(filter) : decision.detail;
  };

  const refuse = (entry: Entry, detail: string): void => {
    const { filter, members } = entry;
    entry.grantedQos = undefined;
    refused.set(filter, detail);
    for (const oldest of refused.keys()) {
      if (refused.size <= MAX_REFUSED) break;
      refused.delete(oldest);
    }
    state.noteError(`the subscription to ${filter} was refused`);
    logger.warn({ event: 'subscription.refused', filter, detail }, 'subscription refused');
    for (const { subscriber } of [...members.keys()]) subscriber.onRefused?.(filter, detail);
  };

  const isDue = (entry: Entry): boolean => {
    const { filter, members, newcomers, grantedQos } = entry;
    if (members.size === 0) return true;
    if (refused.has(filter)) return false;
    return grantedQos === undefined || newcomers.size > 0 || grantedQos < wantedQos(entry);
  };

  const end = async (entry: Entry, from: MqttConnection): Promise<void> => {
    await from.unsubscribe(entry.filter);
    entry.grantedQos = undefined;
    if (entry.members.size === 0) entries.delete(entry.filter);
  };

  const ask = async (entry: Entry, from: MqttConnection): Promise<void> => {
    const { filter, members, newcomers } = entry;
    const qos = wantedQos(entry);
    const refusal = refusalOf(filter, qos);
    if (refusal !== undefined) return refuse(entry, refusal);
    const asking = new Set(newcomers);
    // Everyone gets what the broker kept since we lost the subscription.
    if (entry.grantedQos === undefined)
      for (const { seenTopics } of members.keys()) seenTopics.clear();
    const isGranted = await from.subscribe(filter, qos);
    entry.closes = 0;
    if (!isGranted) return refuse(entry, 'the broker refused it');
    entry.grantedQos = qos;
    for (const member of asking) {
      if (newcomers.delete(member)) member.subscriber.onGranted?.(filter);
    }
  };

  /** A broker that closes instead of answering must not be asked for ever. */
  const noteClose = (asked: readonly Entry[]): void => {
    for (const entry of asked) entry.closes += 1;
    const [only, another] = asked;
    if (only === undefined || another !== undefined || only.closes < CLOSES_UNTIL_REFUSED) return;
    refuse(only, `the broker closed the connection ${only.closes} times instead of granting it`);
    only.closes = 0;
  };

  const work = async (to: MqttConnection): Promise<void> => {
    while (connection === to) {
      // Before the broker learns of them, and after it has forgotten them.
      await kept?.save([...entries.keys()]);
      const due = [...entries.values()].filter(isDue);
      if (due.length === 0) return;
      // After a close one at a time, so that the filter at fault shows.
      const suspect = due.some(({ closes }) => closes > 0);
      const chosen = suspect ? due.slice(0, 1) : due;
      const unanswered = new Set(chosen);
      try {
        await Promise.all(
          chosen.map(async (entry) => {
            await (entry.members.size === 0 ? end(entry, to) : ask(entry, to));
            unanswered.delete(entry);
          }),
        );
      } catch (error) {
        const { by } = await to.closed;
        if (by === 'broker') noteClose([...unanswered]);
        throw error;
      }
    }
  };

  const refresh = async (): Promise<void> => {
    if (connection === undefined) return;
    // One at a time: it goes on until nothing is due, also with what came meanwhile.
    underway ??= work(connection).finally(() => {
      underway = undefined;
    });
    await underway;
  };
  /** A connection that ends meanwhile is the session's to mend. */
  const refreshSoon = (): void => void refresh().catch(() => undefined);

  const entryOf = (filter: TopicFilter): Entry => {
    const found = entries.get(filter);
    if (found !== undefined) return found;
    const entry: Entry = {
      ...{ filter, members: new Map(), newcomers: new Set() },
      ...{ grantedQos: undefined, closes: 0 },
    };
    entries.set(filter, entry);
    return entry;
  };

  /** Entries that nobody wants and the broker does not know. */
  const forgetUnused = (): void => {
    for (const { filter, members, grantedQos } of entries.values()) {
      if (members.size === 0 && grantedQos === undefined) entries.delete(filter);
    }
  };

  for (const filter of kept?.filters ?? []) entryOf(filter).grantedQos = 0;

  return {
    join: (subscriber) => {
      const member: Member = { subscriber, seenTopics: new Set() };
      for (const { filter, qos } of subscriber.filters) {
        const entry = entryOf(filter);
        entry.members.set(member, Math.max(qos, entry.members.get(member) ?? 0) as Qos);
        entry.newcomers.add(member);
      }
      refreshSoon();
      return () => {
        for (const { filter } of subscriber.filters) {
          const entry = entries.get(filter);
          entry?.members.delete(member);
          entry?.newcomers.delete(member);
        }
        if (underway === undefined) forgetUnused();
        refreshSoon();
      };
    },
    refusalOf,
    setRights: (next) => {
      rights = next;
      refused.clear();
      // The broker ends what a narrower token does not cover, and a later one may again.
      for (const entry of entries.values()) {
        if (entry.members.size === 0) continue;
        if (refusalOf(entry.filter, wantedQos(entry)) !== undefined) entry.grantedQos = undefined;
      }
    },
    attach: async (next) => {
      connection = next;
      void next.closed.then(() => {
        if (connection === next) connection = undefined;
      });
      if (!next.isSessionPresent) {
        for (const entry of entries.values()) entry.grantedQos = undefined;
      }
      await underway?.catch(() => undefined); // of the connection before
      forgetUnused();
      await refresh();
    },
    refresh,
    detach: () => {
      connection = undefined;
    },
    deliver: (message) => {
      const { topic: text, isRetained } = message;
      state.count('received');
      logger.debug({ event: 'message.received', topic: text }, 'message received');
      let topic: TopicName;
      try {
        topic = parseTopicName(text);
      } catch {
        return; // no valid filter matches it
      }
      const receivers = new Set<Member>();
      for (const { filter, members } of entries.values()) {
        if (refused.has(filter) || !matches(filter, topic)) continue;
        for (const member of members.keys()) receivers.add(member);
      }
      for (const { subscriber, seenTopics } of receivers) {
        const isKnown = seenTopics.has(text);
        if (isRetained && isKnown) continue;
        if (!isKnown && seenTopics.size < MAX_SEEN_TOPICS) seenTopics.add(text);
        subscriber.onMessage(message);
      }
    },
  };
}
