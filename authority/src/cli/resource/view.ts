/** How resources are shown. */
import { instant, type NounView, plain } from '../noun-view.js';

export const resourceView: NounView = {
  noun: 'resource',
  path: '/resources',
  fields: [
    { heading: 'identifier', text: plain('identifier') },
    { heading: 'kind', text: plain('kind') },
    { heading: 'token ttl', text: (item) => `${plain('token_ttl_seconds')(item)} s` },
    { heading: 'created', text: instant('created_at') },
  ],
};
