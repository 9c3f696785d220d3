/**
 * `/api/v1/signing-keys`: the keys of the authority itself, and their rotation.
 *
 * Units   NumericDate.
 * Errors  problem details; 409 when a rotation has to wait.
 * Source  DESIGN 5 and 8.
 *
 * @module
 */
import { type Clock, TOKEN_ALGORITHMS } from '@latchkey/shared';
import * as v from 'valibot';
import type { SigningKey } from '../registry/signing-key-store.js';
import { isPublished } from '../signing/rotation.js';
import type { SigningKeys } from '../signing-keys.js';
import { pageOf, pageQuery } from './noun.js';
import { type Json, type Route, route } from './route.js';

const instant = v.nullable(v.number());
const shown = v.strictObject({
  kid: v.string(),
  alg: v.picklist(TOKEN_ALGORITHMS),
  status: v.picklist(['next', 'active', 'retired']),
  is_published: v.boolean(),
  created_at: v.number(),
  activated_at: instant,
  retired_at: instant,
  published_until: instant,
});
const rotation = v.strictObject({
  now: v.optional(
    v.pipe(
      v.boolean(),
      v.description('trust no key of before any more, as after a leak; default false'),
    ),
    false,
  ),
});
const outcome = v.strictObject({
  rotated: v.array(v.picklist(TOKEN_ALGORITHMS)),
  postponed: v.array(v.strictObject({ alg: v.picklist(TOKEN_ALGORITHMS), until: v.number() })),
  items: v.array(shown),
});

export function signingKeyRoutes(deps: {
  readonly signingKeys: SigningKeys;
  readonly clock: Clock;
}): readonly Route[] {
  const { signingKeys, clock } = deps;

  const toJson = (key: SigningKey): Json => ({
    ...{ kid: key.kid, alg: key.alg, status: key.status },
    is_published: isPublished(key, clock.now()),
    created_at: key.createdAt,
    activated_at: key.activatedAt ?? null,
    retired_at: key.retiredAt ?? null,
    published_until: key.publishedUntil ?? null,
  });
  const items = async () => (await signingKeys.list()).map(toJson);

  return [
    route({
      method: 'GET',
      path: '/signing-keys',
      needs: { scope: 'signing-keys:read', concerns: 'fleet' },
      summary: 'List the keys that sign tokens, in one page',
      query: pageQuery,
      answer: pageOf(shown),
      success: 200,
      handle: async () => ({ body: { items: await items(), next: null } }),
    }),
    route({
      method: 'POST',
      path: '/signing-keys/rotate',
      needs: { scope: 'signing-keys:write', concerns: 'fleet' },
      summary: 'Rotate the keys that sign tokens',
      body: rotation,
      answer: outcome,
      success: 200,
      change: { event: 'signing-keys.rotated', subject: 'algorithms' },
      handle: async ({ body }) => {
        const { rotated, postponed } = await signingKeys.rotate(body);
        return { body: { rotated, postponed, items: await items() }, target: rotated.join(' ') };
      },
    }),
  ];
}
