/**
 * `/api/v1/clients/{id}/keys` and their rotation in three calls: start, finish, cancel.
 *
 * Units   `not_before`, `expires_at`: NumericDate.
 * Errors  problem details.
 * Source  DESIGN 5 and 9 (I9).
 *
 * @module
 */
import { type Clock, FormatError, type Kid, parseClientId, parseKid } from '@latchkey/shared';
import * as v from 'valibot';
import type { NewClientKey } from '../registry/lifecycle.js';
import type { Registry } from '../registry/registry.js';
import { clientAnswer, keyToJson, shownClient, shownKey } from './client-json.js';
import { instantField, kidField, labelTextField, publicKeyField } from './fields.js';
import { found, readId } from './noun.js';
import { type Operator, refuseSelf } from './operator.js';
import { type Route, route } from './route.js';

const keyEntries = {
  public_key: publicKeyField,
  label: v.optional(labelTextField, ''),
  not_before: v.optional(instantField),
  expires_at: v.optional(instantField),
};
const newKey = v.strictObject(keyEntries);
const startBody = v.strictObject({ ...keyEntries, old_kid: v.optional(kidField) });
const empty = v.strictObject({});
const removeQuery = v.strictObject({ force: v.optional(v.picklist(['true', 'false']), 'false') });

const READ = { scope: 'clients:read', concerns: 'clients' } as const;
const WRITE = { scope: 'clients:write', concerns: 'clients' } as const;
const ENDINGS = [
  { ending: 'finish', event: 'key-rotation.finished', summary: 'End the old key' },
  { ending: 'cancel', event: 'key-rotation.cancelled', summary: 'End the new key' },
] as const;

const idOf = ({ id }: Readonly<Record<string, string>>) =>
  readId((text) => parseClientId(text), id, 'client');
const kidOf = ({ kid }: Readonly<Record<string, string>>): Kid =>
  readId((text) => parseKid(text), kid, 'key');

function readKey(body: v.InferOutput<typeof newKey>, clock: Clock): NewClientKey {
  const { public_key: key, label, not_before: notBefore, expires_at: expiresAt } = body;
  if (expiresAt !== undefined && expiresAt <= Math.max(clock.now(), notBefore ?? 0)) {
    throw new FormatError('expires_at', 'must be in the future and after not_before');
  }
  return { key, label, notBefore, expiresAt };
}

function readForce(operator: Operator, id: string, force: string): boolean {
  if (force === 'true') refuseSelf(operator, id);
  return force === 'true';
}

export function clientKeyRoutes(deps: {
  readonly registry: Registry;
  readonly clock: Clock;
}): readonly Route[] {
  const { registry, clock } = deps;
  const endings = ENDINGS.map(({ ending, event, summary }) =>
    route({
      method: 'POST',
      path: `/clients/:id/keys/rotation/${ending}`,
      needs: WRITE,
      summary: `${ending === 'finish' ? 'Finish' : 'Cancel'} the rotation of a key. ${summary}`,
      body: empty,
      answer: shownClient,
      success: 200,
      isConditional: true,
      change: { event, subject: 'clientId' },
      handle: async ({ params, condition }) =>
        clientAnswer(await registry.endKeyRotation(idOf(params), ending, condition)),
    }),
  );
  return [
    route({
      method: 'GET',
      path: '/clients/:id/keys',
      needs: READ,
      summary: 'List the keys of a client',
      answer: v.strictObject({ items: v.array(shownKey) }),
      success: 200,
      handle: async ({ params, operator }) => {
        const { keys } = found(await registry.client(idOf(params), operator.reach), 'client');
        return { body: { items: keys.map(keyToJson) } };
      },
    }),
    route({
      method: 'POST',
      path: '/clients/:id/keys',
      needs: WRITE,
      summary: 'Add a key to a client',
      body: newKey,
      answer: shownClient,
      success: 201,
      isConditional: true,
      change: { event: 'key.added', subject: 'clientId' },
      handle: async ({ params, body, condition }) =>
        clientAnswer(await registry.addClientKey(idOf(params), readKey(body, clock), condition)),
    }),
    route({
      method: 'DELETE',
      path: '/clients/:id/keys/:kid',
      needs: WRITE,
      summary: 'Remove a key of a client; the last one only with force=true',
      query: removeQuery,
      answer: shownClient,
      success: 200,
      isConditional: true,
      change: { event: 'key.removed', subject: 'clientId' },
      handle: async ({ operator, params, query, condition }) => {
        const id = idOf(params);
        const isForced = readForce(operator, id, query.force);
        const options = { ...condition, isForced };
        return clientAnswer(await registry.removeClientKey(id, kidOf(params), options));
      },
    }),
    route({
      method: 'POST',
      path: '/clients/:id/keys/rotation/start',
      needs: WRITE,
      summary: 'Start to replace a key: the new one is added, and both are valid',
      body: startBody,
      answer: shownClient,
      success: 200,
      isConditional: true,
      change: { event: 'key-rotation.started', subject: 'clientId' },
      handle: async ({ params, body: { old_kid: oldKid, ...key }, condition }) => {
        const rotation = { ...readKey(key, clock), oldKid };
        return clientAnswer(await registry.startKeyRotation(idOf(params), rotation, condition));
      },
    }),
    ...endings,
  ];
}
