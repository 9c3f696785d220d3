/**
 * `GET /api/v1/explain`: what a broker would decide about a client, and why.
 *
 * Units   `qos`: 0 to 2.
 * Errors  problem details.
 * Source  DESIGN 9 (I12).
 *
 * @module
 */
import * as v from 'valibot';
import { type Explanation, explain, type Question } from '../explain.js';
import type { Registry } from '../registry/registry.js';
import { clientIdField, resourceField, roleNameField } from './fields.js';
import { found, ONCE } from './noun.js';
import { hasScope } from './operator.js';
import { type Json, type Route, route } from './route.js';

const MAX_TOPIC_LENGTH = 8192;
const MAX_ROLES = 16;

/** A parameter that may be repeated. */
const rolesToSuppose = v.optional(
  v.pipe(
    v.union([roleNameField, v.array(roleNameField)]),
    v.transform((names) => [names].flat()),
    v.maxLength(MAX_ROLES, `must not be given more than ${MAX_ROLES} times`),
  ),
  [],
);
const query = v.strictObject({
  client_id: clientIdField,
  action: v.picklist(['publish', 'subscribe']),
  topic: v.pipe(v.string(ONCE), v.maxLength(MAX_TOPIC_LENGTH)),
  resource: v.optional(resourceField),
  qos: v.optional(v.picklist(['0', '1', '2']), '0'),
  retain: v.optional(v.picklist(['true', 'false']), 'false'),
  with_role: rolesToSuppose,
  without_role: rolesToSuppose,
});
const shown = v.strictObject({
  client_id: v.string(),
  action: v.picklist(['publish', 'subscribe']),
  topic: v.string(),
  resource: v.nullable(v.string()),
  allowed: v.boolean(),
  reason: v.string(),
  detail: v.string(),
  scope: v.nullable(v.string()),
  permission: v.nullable(v.string()),
  roles: v.array(v.string()),
  missing_labels: v.array(v.strictObject({ permission: v.string(), label: v.string() })),
  grant: v.nullable(v.strictObject({ scope: v.string(), roles: v.array(v.string()) })),
});

type Query = v.InferOutput<typeof query>;

function toQuestion({ action, topic, qos, retain }: Query): Question {
  const asked = { topic, qos: Number(qos) };
  if (action === 'subscribe') return { ...asked, action };
  return { ...asked, action, retain: retain === 'true' };
}

const toJson = ({ client_id, action, topic }: Query, explanation: Explanation): Json => ({
  ...{ client_id, action, topic },
  resource: explanation.resource ?? null,
  allowed: explanation.isAllowed,
  reason: explanation.reason,
  detail: explanation.detail,
  scope: explanation.scope ?? null,
  permission: explanation.permission ?? null,
  roles: explanation.roles,
  missing_labels: explanation.missingLabels,
  grant: explanation.grant ?? null,
});

export function explainRoutes({ registry }: { readonly registry: Registry }): readonly Route[] {
  return [
    route({
      method: 'GET',
      path: '/explain',
      needs: { scope: 'clients:read', concerns: 'clients' },
      summary: 'Explain what a broker decides about a client',
      query,
      answer: shown,
      success: 200,
      handle: async ({ operator, query: asked }) => {
        const client = found(await registry.client(asked.client_id, operator.reach), 'client');
        const isCatalogShown = operator.limit === undefined && hasScope(operator, 'roles:read');
        const explanation = await explain({ registry, isCatalogShown }, client, toQuestion(asked), {
          resource: asked.resource,
          withRoles: asked.with_role,
          withoutRoles: asked.without_role,
        });
        return { body: toJson(asked, explanation) };
      },
    }),
  ];
}
