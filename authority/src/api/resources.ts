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
  type Logger,
  parsedBy,
  parseResourceId,
  parseWith,
  TOKEN_DEFAULT_LIFETIME_SECONDS,
  TOKEN_MAX_LIFETIME_SECONDS,
  TOKEN_MIN_LIFETIME_SECONDS,
} from '@latchkey/shared';
import * as v from 'valibot';
import type { Registry, Resource } from '../registry/registry.js';
import { wholeNumberField } from './fields.js';
import type { Noun } from './noun.js';

const schema = v.strictObject({
  identifier: v.pipe(v.string(), parsedBy(parseResourceId)),
  kind: v.picklist(['mqtt', 'http']),
  token_ttl_seconds: v.optional(
    wholeNumberField(TOKEN_MIN_LIFETIME_SECONDS, TOKEN_MAX_LIFETIME_SECONDS),
    TOKEN_DEFAULT_LIFETIME_SECONDS,
  ),
});

const toJson = ({ identifier, kind, tokenTtlSeconds, createdAt }: Resource) => ({
  identifier,
  kind,
  token_ttl_seconds: tokenTtlSeconds,
  created_at: createdAt,
});

export function resourcesNoun(deps: {
  readonly registry: Registry;
  readonly logger: Logger;
}): Noun<Resource> {
  const { registry, logger } = deps;
  return {
    name: 'resource',
    path: '/resources',
    create: async (body) => {
      const { identifier, kind, token_ttl_seconds } = parseWith(schema, body, 'the request');
      const tokenTtlSeconds = token_ttl_seconds;
      const resource = await registry.createResource({ identifier, kind, tokenTtlSeconds });
      logger.info({ event: 'resource.created', resource: identifier }, 'resource created');
      return toJson(resource);
    },
    show: async (id) => registry.resource(parseResourceId(id)),
    list: (page) => registry.listResources(page),
    toJson,
  };
}
