/** How permissions are shown. */
import { instant, joined, type NounView, plain } from '../noun-view.js';

export const permissionView: NounView = {
  noun: 'permission',
  path: '/permissions',
  fields: [
    { heading: 'name', text: plain('name') },
    { heading: 'resource', text: plain('resource') },
    { heading: 'scopes', text: joined('scopes') },
    { heading: 'created', text: instant('created_at'), isOnlyForShow: true },
  ],
};
