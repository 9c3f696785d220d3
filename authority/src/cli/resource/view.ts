/** How resources are shown. */
import { instant, type NounView, plain, yes } from '../noun-view.js';

export const resourceView: NounView = {
  noun: 'resource',
  path: '/resources',
  fields: [
    { heading: 'identifier', text: plain('identifier') },
    { heading: 'kind', text: plain('kind') },
    { heading: 'token ttl', text: (item) => `${plain('token_ttl_seconds')(item)} s` },
    { heading: 'signing alg', text: plain('signing_alg'), isOnlyForShow: true },
    { heading: 'narrows scope', text: yes('narrows_scope'), isOnlyForShow: true },
    { heading: 'legacy claims', text: yes('has_legacy_claims'), isOnlyForShow: true },
    { heading: 'created', text: instant('created_at') },
  ],
};
