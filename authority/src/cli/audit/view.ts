/** How audit events are shown to people: one line each, the time first. */
import type { Item } from '../management-client.js';
import { instant, plain } from '../noun-view.js';

/** An event that somebody wrote into the file must not speak to the terminal. */
const UNPRINTABLE = /\p{Cc}/gu;

export function formatEvent(event: Item): string {
  const what = `${plain('type')(event)} ${plain('action')(event)}`;
  const who = plain('actor')(event) || plain('client_id')(event) || '-';
  const columns = [
    instant('at')(event),
    plain('outcome')(event).padEnd(7),
    what.padEnd(17),
    who,
    plain('target')(event) || '-',
    plain('address')(event) || '-',
    plain('detail')(event),
  ];
  return columns.join('  ').trimEnd().replaceAll(UNPRINTABLE, '?');
}
