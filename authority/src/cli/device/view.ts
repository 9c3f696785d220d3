/** How devices are shown. */
import type { Item } from '../management-client.js';
import { instant, joined, labels, type NounView, plain } from '../noun-view.js';

const keysOf = (item: Item): readonly Item[] => (Array.isArray(item.keys) ? item.keys : []);

export const deviceView: NounView = {
  noun: 'device',
  path: '/devices',
  fields: [
    { heading: 'client id', text: plain('client_id') },
    { heading: 'status', text: plain('status') },
    { heading: 'roles', text: joined('roles') },
    { heading: 'labels', text: labels },
    { heading: 'keys', text: (item) => keysOf(item).map(plain('kid')).join('\n') },
    { heading: 'created', text: instant('created_at') },
  ],
};
