/** How enrollments are shown; the code itself never is. */
import { instant, joined, labels, type NounView, plain } from '../noun-view.js';

export const enrollmentView: NounView = {
  noun: 'enrollment',
  path: '/enrollments',
  hasLabels: true,
  fields: [
    { heading: 'id', text: plain('id'), isWhole: true },
    { heading: 'for', text: (item) => plain('client_id')(item) || plain('id_pattern')(item) },
    { heading: 'roles', text: joined('roles') },
    { heading: 'labels', text: labels },
    { heading: 'uses left', text: (item) => `${item.uses_left} of ${item.uses}` },
    { heading: 'expires', text: instant('expires_at') },
    { heading: 'revoked', text: instant('revoked_at'), isOnlyForShow: true },
    { heading: 'created', text: instant('created_at'), isOnlyForShow: true },
  ],
};
