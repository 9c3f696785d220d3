/**
 * `/api/v1/clients/{id}/suspend`, `resume`, `revoke`, `void-tokens` and `free`.
 *
 * Units   `before`: NumericDate.
 * Errors  problem details.
 * Source  STYLE 2.4 (revocation is permanent, suspension is not); DESIGN 4 (`tokensNotBefore`).
 *
 * @module
 */
import { type Clock, FormatError, parseClientId } from '@latchkey/shared';
import * as v from 'valibot';
import type { ClientStatus, Registry } from '../registry/registry.js';
import { clientAnswer, shownClient } from './client-json.js';
import { instantField } from './fields.js';
import { readId } from './noun.js';
import { refuseSelf } from './operator.js';
import { type Route, route } from './route.js';

interface Verb {
  readonly verb: string;
  readonly status: ClientStatus;
  readonly event: string;
  readonly summary: string;
}

const VERBS: readonly Verb[] = [
  {
    verb: 'suspend',
    status: 'suspended',
    event: 'client.suspended',
    summary: 'Refuse a client until it is resumed',
  },
  {
    verb: 'resume',
    status: 'active',
    event: 'client.resumed',
    summary: 'End the suspension of a client',
  },
  {
    verb: 'revoke',
    status: 'revoked',
    event: 'client.revoked',
    summary: 'Refuse a client for ever: its keys, secrets and tokens are void at once',
  },
];

const WRITE = { scope: 'clients:write', concerns: 'clients' } as const;
const idOf = ({ id }: Readonly<Record<string, string>>) =>
  readId((text) => parseClientId(text), id, 'client');
const empty = v.strictObject({});
const voidBody = v.strictObject({ before: v.optional(instantField) });

export function clientStatusRoutes(deps: {
  readonly registry: Registry;
  readonly clock: Clock;
}): readonly Route[] {
  const { registry, clock } = deps;
  const verbs = VERBS.map(({ verb, status, event, summary }) =>
    route({
      method: 'POST',
      path: `/clients/:id/${verb}`,
      needs: WRITE,
      summary,
      body: empty,
      answer: shownClient,
      success: 200,
      isConditional: true,
      change: { event, subject: 'clientId' },
      handle: async ({ operator, params, condition }) => {
        const id = idOf(params);
        refuseSelf(operator, id);
        return clientAnswer(await registry.setClientStatus(id, status, condition));
      },
    }),
  );
  return [
    ...verbs,
    route({
      method: 'POST',
      path: '/clients/:id/void-tokens',
      needs: WRITE,
      summary: 'Void every token that a client was issued before an instant; by default, until now',
      body: voidBody,
      answer: shownClient,
      success: 200,
      isConditional: true,
      change: { event: 'client.tokens-voided', subject: 'clientId' },
      handle: async ({ params, body, condition }) => {
        // A token of this very second was issued before now as well.
        const soonest = clock.now() + 1;
        const before = body.before ?? soonest;
        if (before > soonest) throw new FormatError('before', 'must not be in the future');
        const patch = { tokensNotBefore: before };
        return clientAnswer(await registry.patchClient(idOf(params), patch, condition));
      },
    }),
    route({
      method: 'POST',
      path: '/clients/:id/free',
      needs: { scope: 'clients:write', concerns: 'fleet' },
      summary: 'Let the id of a deleted client be registered again',
      body: empty,
      success: 204,
      change: { event: 'client.id-freed', subject: 'clientId' },
      handle: async ({ params }) => {
        const id = idOf(params);
        await registry.freeClientId(id);
        return { target: id };
      },
    }),
  ];
}
