/** How the keys of a client are shown. */
import { instant, type NounView, plain } from '../noun-view.js';

export const keyView: NounView = {
  noun: 'key',
  path: '/clients',
  fields: [
    { heading: 'kid', text: plain('kid'), isWhole: true },
    { heading: 'label', text: plain('label') },
    { heading: 'not before', text: instant('not_before') },
    { heading: 'expires', text: instant('expires_at') },
    { heading: 'created', text: instant('created_at') },
  ],
};
