/** How clients are shown: devices and services, which are the same but for their name. */
import type { Item } from '../management-client.js';
import { type Field, instant, joined, labels, type NounView, plain, yes } from '../noun-view.js';

export const itemsOf = (item: Item, name: string): readonly Item[] => {
  const value = item[name];
  return Array.isArray(value) ? value : [];
};

const rotation = (item: Item): string => {
  const [keys, secrets] = [item.key_rotation, item.secret_rotation] as (Item | null)[];
  return [
    ...(keys ? [`key ${keys.old_kid} by ${keys.new_kid}`] : []),
    ...(secrets ? [`secret ${secrets.old_id} by ${secrets.new_id}`] : []),
  ].join('\n');
};

const limit = (item: Item): string => {
  const label = item.limited_to_label as Item | null | undefined;
  return label ? `${label.key}=${label.value}` : '';
};

const hidden = (heading: string, text: Field['text']): Field => ({
  heading,
  text,
  isOnlyForShow: true,
});

const fields: readonly Field[] = [
  { heading: 'client id', text: plain('client_id'), isWhole: true },
  { heading: 'status', text: plain('status'), isWhole: true },
  { heading: 'roles', text: joined('roles') },
  { heading: 'labels', text: labels },
  { heading: 'keys', text: (item) => itemsOf(item, 'keys').map(plain('kid')).join('\n') },
  hidden('key created', (item) =>
    itemsOf(item, 'keys').map(instant('created_at')).sort().join('\n'),
  ),
  hidden('secrets', (item) =>
    itemsOf(item, 'secrets')
      .map((secret) => `${secret.id}: ${secret.prefix}…${secret.last_four}`)
      .join('\n'),
  ),
  hidden('rotation', rotation),
  hidden('may mint', yes('may_mint')),
  hidden('token ttl', (item) =>
    typeof item.token_ttl_seconds === 'number' ? `${item.token_ttl_seconds} s` : '',
  ),
  hidden('void before', (item) =>
    item.tokens_not_before ? instant('tokens_not_before')(item) : '',
  ),
  hidden('limited to', limit),
  hidden('version', plain('version')),
  { heading: 'created', text: instant('created_at'), isWhole: true },
];

export const deviceView: NounView = { noun: 'device', path: '/devices', fields, hasLabels: true };
export const serviceView: NounView = {
  noun: 'service',
  path: '/services',
  fields,
  hasLabels: true,
};
/** For commands about a client of either kind. */
export const clientView: NounView = { noun: 'client', path: '/clients', fields, hasLabels: true };
