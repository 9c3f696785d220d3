/** How signing keys are shown. */
import { instant, type NounView, plain } from '../noun-view.js';

export const signingKeyView: NounView = {
  noun: 'signing-key',
  path: '/signing-keys',
  fields: [
    { heading: 'kid', text: plain('kid'), isWhole: true },
    { heading: 'alg', text: plain('alg') },
    { heading: 'status', text: plain('status') },
    { heading: 'created', text: instant('created_at') },
    { heading: 'active since', text: instant('activated_at') },
    { heading: 'trusted until', text: instant('published_until') },
  ],
};
