/** How the secrets of a service are shown; a secret itself never is. */
import { instant, type NounView, plain } from '../noun-view.js';

export const secretView: NounView = {
  noun: 'secret',
  path: '/clients',
  fields: [
    { heading: 'id', text: plain('id') },
    { heading: 'secret', text: (item) => `${item.prefix}…${item.last_four}` },
    { heading: 'label', text: plain('label') },
    { heading: 'expires', text: instant('expires_at') },
    { heading: 'created', text: instant('created_at') },
  ],
};
