/**
 * `/api/v1/resources`: resource servers, such as a broker.
 *
 * Units   `token_ttl_seconds` in seconds, 60 to 86,400, default 900.
 * Errors  problem details.
 * Source  RFC 8707 2; DESIGN 4.
 *
 * @module
 */
import {
  parseResourceId,
  TOKEN_ALGORITHMS,
  TOKEN_DEFAULT_LIFETIME_SECONDS,
} from '@latchkey/shared';
import * as v from 'valibot';
import type { ResourcePatch } from '../registry/lifecycle.js';
import type { Registry, Resource } from '../registry/registry.js';
import { defined, resourceField, tokenTtlField } from './fields.js';
import type { ManagementRights } from './management-rights.js';
import { found, pageAnswer, pageOf, pageQuery, readId } from './noun.js';
import { type Json, type Route, type RouteAnswer, route } from './route.js';

const options = {
  signing_alg: v.optional(v.picklist(TOKEN_ALGORITHMS)),
  narrows_scope: v.optional(v.boolean()),
  has_legacy_claims: v.optional(v.boolean()),
};
const newResource = v.strictObject({
  identifier: resourceField,
  kind: v.picklist(['mqtt', 'http']),
  token_ttl_seconds: v.optional(tokenTtlField, TOKEN_DEFAULT_LIFETIME_SECONDS),
  ...options,
});
const patch = v.strictObject({ token_ttl_seconds: v.optional(tokenTtlField), ...options });
const shown = v.strictObject({
  identifier: v.string(),
  kind: v.picklist(['mqtt', 'http']),
  token_ttl_seconds: v.number(),
  signing_alg: v.picklist(TOKEN_ALGORITHMS),
  narrows_scope: v.boolean(),
  has_legacy_claims: v.boolean(),
  created_at: v.number(),
  version: v.number(),
});

const toJson = (resource: Resource): Json => ({
  identifier: resource.identifier,
  kind: resource.kind,
  token_ttl_seconds: resource.tokenTtlSeconds,
  signing_alg: resource.signingAlg,
  narrows_scope: resource.narrowsScope,
  has_legacy_claims: resource.hasLegacyClaims,
  created_at: resource.createdAt,
  version: resource.version,
});

const toAnswer = (resource: Resource): RouteAnswer => ({
  body: toJson(resource),
  version: resource.version,
  target: resource.identifier,
});

const toOptions = (body: v.InferOutput<typeof patch>): ResourcePatch =>
  defined({
    tokenTtlSeconds: body.token_ttl_seconds,
    signingAlg: body.signing_alg,
    narrowsScope: body.narrows_scope,
    hasLegacyClaims: body.has_legacy_claims,
  });

const READ = { scope: 'resources:read', concerns: 'fleet' } as const;
const WRITE = { scope: 'resources:write', concerns: 'fleet' } as const;
const idOf = ({ id }: Readonly<Record<string, string>>) =>
  readId((text) => parseResourceId(text), id, 'resource');

export function resourceRoutes(deps: {
  readonly registry: Registry;
  readonly rights: ManagementRights;
}): readonly Route[] {
  const { registry, rights } = deps;
  return [
    route({
      method: 'POST',
      path: '/resources',
      needs: WRITE,
      summary: 'Create a resource',
      body: newResource,
      answer: shown,
      success: 201,
      change: { event: 'resource.created', subject: 'resource' },
      handle: async ({ body: { identifier, kind, token_ttl_seconds, ...more } }) =>
        toAnswer(
          await registry.createResource({
            ...toOptions(more),
            ...{ identifier, kind, tokenTtlSeconds: token_ttl_seconds },
          }),
        ),
    }),
    route({
      method: 'GET',
      path: '/resources',
      needs: READ,
      summary: 'List resources',
      query: pageQuery,
      answer: pageOf(shown),
      success: 200,
      handle: async ({ query }) => pageAnswer(await registry.listResources(query), toJson),
    }),
    route({
      method: 'GET',
      path: '/resources/:id',
      needs: READ,
      summary: 'Show a resource',
      answer: shown,
      success: 200,
      handle: async ({ params }) =>
        toAnswer(found(await registry.resource(idOf(params)), 'resource')),
    }),
    route({
      method: 'PATCH',
      path: '/resources/:id',
      needs: WRITE,
      summary: 'Change how tokens for a resource are made',
      body: patch,
      answer: shown,
      success: 200,
      isConditional: true,
      change: { event: 'resource.updated', subject: 'resource' },
      handle: async ({ operator, params, body, condition }) => {
        const id = idOf(params);
        rights.checkResource(operator, id);
        return toAnswer(await registry.patchResource(id, toOptions(body), condition));
      },
    }),
    route({
      method: 'DELETE',
      path: '/resources/:id',
      needs: WRITE,
      summary: 'Delete a resource that no permission is for',
      success: 204,
      isConditional: true,
      change: { event: 'resource.deleted', subject: 'resource' },
      handle: async ({ operator, params, condition }) => {
        const id = idOf(params);
        rights.checkResource(operator, id);
        await registry.deleteResource(id, condition);
        return { target: id };
      },
    }),
  ];
}
