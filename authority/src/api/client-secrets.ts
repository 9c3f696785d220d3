/**
 * `/api/v1/clients/{id}/secrets` and their rotation in three calls: start, finish, cancel.
 *
 * A secret is in the answer to its creation and nowhere else: the registry keeps a hash.
 *
 * Units   `expires_in_seconds`, 60 to 315,360,000; `expires_at`: NumericDate.
 * Errors  problem details.
 * Source  RFC 6749 2.3.1.
 *
 * @module
 */
import { type Clock, FormatError, parseClientId } from '@latchkey/shared';
import * as v from 'valibot';
import { newClientSecret } from '../registry/client-secret.js';
import type { ClientSecret, NewClientSecret } from '../registry/lifecycle.js';
import type { Registry } from '../registry/registry.js';
import {
  clientAnswer,
  secretToJson,
  shownClient,
  shownNewSecret,
  shownSecret,
} from './client-json.js';
import { labelTextField, wholeNumberField } from './fields.js';
import { found, readId } from './noun.js';
import { type Route, type RouteAnswer, route } from './route.js';

const MIN_EXPIRES_IN_SECONDS = 60;
const MAX_EXPIRES_IN_SECONDS = 315_360_000;
const ID = /^[1-9][0-9]{0,14}$/;

const newSecretBody = v.strictObject({
  label: v.optional(labelTextField, ''),
  expires_in_seconds: v.optional(wholeNumberField(MIN_EXPIRES_IN_SECONDS, MAX_EXPIRES_IN_SECONDS)),
});
const empty = v.strictObject({});

const READ = { scope: 'clients:read', concerns: 'clients' } as const;
const WRITE = { scope: 'clients:write', concerns: 'clients' } as const;
const ENDINGS = [
  { ending: 'finish', event: 'secret-rotation.finished', summary: 'End the old secret' },
  { ending: 'cancel', event: 'secret-rotation.cancelled', summary: 'End the new secret' },
] as const;

const idOf = ({ id }: Readonly<Record<string, string>>) =>
  readId((text) => parseClientId(text), id, 'client');
const secretIdOf = ({ secret }: Readonly<Record<string, string>>): number =>
  readId(
    (text) => {
      if (!ID.test(text)) throw new FormatError('secret', 'must be a number');
      return Number(text);
    },
    secret,
    'secret',
  );

export function clientSecretRoutes(deps: {
  readonly registry: Registry;
  readonly clock: Clock;
}): readonly Route[] {
  const { registry, clock } = deps;

  /** Makes a secret, has its hash stored, and answers with it once. */
  const answerNew = async (
    { label, expires_in_seconds }: v.InferOutput<typeof newSecretBody>,
    target: string,
    store: (secret: NewClientSecret) => Promise<ClientSecret>,
  ): Promise<RouteAnswer> => {
    const { secret, kept } = newClientSecret();
    const expiresAt = expires_in_seconds && clock.now() + expires_in_seconds;
    const stored = await store({ ...kept, label, expiresAt });
    return { body: { client_secret: secret, ...secretToJson(stored) }, target };
  };

  const endings = ENDINGS.map(({ ending, event, summary }) =>
    route({
      method: 'POST',
      path: `/clients/:id/secrets/rotation/${ending}`,
      needs: WRITE,
      summary: `${ending === 'finish' ? 'Finish' : 'Cancel'} the rotation of a secret. ${summary}`,
      body: empty,
      answer: shownClient,
      success: 200,
      isConditional: true,
      change: { event, subject: 'clientId' },
      handle: async ({ params, condition }) =>
        clientAnswer(await registry.endSecretRotation(idOf(params), ending, condition)),
    }),
  );

  return [
    route({
      method: 'GET',
      path: '/clients/:id/secrets',
      needs: READ,
      summary: 'List what is known of the secrets of a service',
      answer: v.strictObject({ items: v.array(shownSecret) }),
      success: 200,
      handle: async ({ params, operator }) => {
        const { secrets } = found(await registry.client(idOf(params), operator.reach), 'client');
        return { body: { items: secrets.map(secretToJson) } };
      },
    }),
    route({
      method: 'POST',
      path: '/clients/:id/secrets',
      needs: WRITE,
      summary: 'Make a secret for a service; it is in this answer only',
      body: newSecretBody,
      answer: shownNewSecret,
      success: 201,
      isConditional: true,
      change: { event: 'secret.created', subject: 'clientId' },
      handle: ({ params, body, condition }) => {
        const id = idOf(params);
        return answerNew(body, id, (secret) => registry.addClientSecret(id, secret, condition));
      },
    }),
    route({
      method: 'DELETE',
      path: '/clients/:id/secrets/:secret',
      needs: WRITE,
      summary: 'Remove a secret of a service',
      answer: shownClient,
      success: 200,
      isConditional: true,
      change: { event: 'secret.removed', subject: 'clientId' },
      handle: async ({ params, condition }) =>
        clientAnswer(
          await registry.removeClientSecret(idOf(params), secretIdOf(params), condition),
        ),
    }),
    route({
      method: 'POST',
      path: '/clients/:id/secrets/rotation/start',
      needs: WRITE,
      summary: 'Start to replace a secret: a new one is made, and both are valid',
      body: newSecretBody,
      answer: shownNewSecret,
      success: 201,
      isConditional: true,
      change: { event: 'secret-rotation.started', subject: 'clientId' },
      handle: ({ params, body, condition }) => {
        const id = idOf(params);
        return answerNew(body, id, (secret) => registry.startSecretRotation(id, secret, condition));
      },
    }),
    ...endings,
  ];
}
