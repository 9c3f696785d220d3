/**
 * For whom a message is queued: the stored filters of QoS 1 and 2, by topic.
 *
 * aedes-persistence-level 9.2 has such an index and damages it: a filter that overlaps an earlier one
 * of the same client is left out of it, or takes its place. Messages are not queued then, and a
 * client that is connected is thrown out when one arrives. So the index is kept here, and theirs is not
 * asked.
 *
 * Units   none.
 * Errors  none.
 * Source  MQTT 3.1.1 3.1.2.4, 4.3; `addSubToTrie` and `loadSubscriptions` of that package.
 *
 * @module
 */
import type { OfflineSubscription, StoredFilter } from './aedes-persistence.js';

/** The part of qlobber's `QlobberSub` that is used; it comes with the persistence. */
export interface FilterTrie {
  add(filter: string, subscription: OfflineSubscription): unknown;
  remove(filter: string, subscription: { readonly clientId: string; readonly topic: string }): void;
  match(topic: string): readonly OfflineSubscription[];
}

export const TRIE_OPTIONS = {
  wildcard_one: '+',
  wildcard_some: '#',
  separator: '/',
  match_empty_levels: true,
} as const;

export interface OfflineIndex {
  add(clientId: string, filters: readonly StoredFilter[]): void;
  remove(clientId: string, topics: readonly string[]): void;
  match(topic: string): readonly OfflineSubscription[];
}

export function createOfflineIndex(trie: FilterTrie): OfflineIndex {
  return {
    add: (clientId, filters) => {
      for (const { topic, qos } of filters) {
        if (qos > 0) trie.add(topic, { clientId, topic, qos });
        else trie.remove(topic, { clientId, topic });
      }
    },
    remove: (clientId, topics) => {
      for (const topic of topics) trie.remove(topic, { clientId, topic });
    },
    match: (topic) => trie.match(topic),
  };
}
