/** How roles are shown. */
import { instant, joined, type NounView, plain } from '../noun-view.js';

export const roleView: NounView = {
  noun: 'role',
  path: '/roles',
  fields: [
    { heading: 'name', text: plain('name') },
    { heading: 'permissions', text: joined('permissions') },
    { heading: 'created', text: instant('created_at') },
  ],
};
