/**
 * Which resource a token is for, and what the client has there.
 *
 * Units   seconds.
 * Errors  `InvalidTargetError`. An unknown resource and one where the client has nothing give one message.
 * Source  RFC 8707 2; RFC 9068 3 (default resource).
 *
 * @module
 */
import {
  type ClientId,
  InvalidTargetError,
  type PermissionName,
  parseTopicScopeTemplate,
  type ResourceId,
  type TopicScope,
} from '@latchkey/shared';
import type { ClientRights, GrantedPermission, ResourceOptions } from '../registry/registry.js';

/** One permission, expanded for one client. */
export interface ExpandedPermission {
  readonly name: PermissionName;
  /** A plain scope has none. */
  readonly topicScopes: readonly TopicScope[];
  /** A label that the client lacks; then the permission is not granted. */
  readonly missingLabel: string | undefined;
}

export interface ChosenResource extends ResourceOptions {
  readonly identifier: ResourceId;
  /** That of the resource, or the client's own if it is shorter. */
  readonly tokenTtlSeconds: number;
  readonly granted: readonly ExpandedPermission[];
}

/** What the permission gives to a client. */
export function expandPermission(
  { name, scopes }: Pick<GrantedPermission, 'name' | 'scopes'>,
  clientId: ClientId,
  labels: ClientRights['labels'],
): ExpandedPermission {
  const topicScopes: TopicScope[] = [];
  for (const text of scopes) {
    const expansion = parseTopicScopeTemplate(text).expand({ clientId, labels });
    if (!expansion.ok) return { name, topicScopes: [], missingLabel: expansion.missingLabel };
    topicScopes.push(expansion.scope);
  }
  return { name, topicScopes, missingLabel: undefined };
}

/** `requested` absent means the one resource where the client has rights. */
export function chooseResource(
  { labels, permissions, tokenTtlSeconds }: ClientRights,
  clientId: ClientId,
  requested: string | undefined,
): ChosenResource {
  const own = new Set<string>(permissions.map(({ resource }) => resource));
  if (requested === undefined && own.size > 1) {
    throw new InvalidTargetError(
      'resource is required: the client has rights at several resources',
    );
  }
  const [identifier = ''] = requested === undefined ? own : [requested];
  const there = permissions.filter(({ resource }) => resource === identifier);
  const granted = there.map((permission) => expandPermission(permission, clientId, labels));
  const [first] = there;
  if (first === undefined || granted.every(({ missingLabel }) => missingLabel !== undefined)) {
    throw new InvalidTargetError('the client has no rights at this resource', {
      detail: `${there.length} permissions there, none of which can be granted`,
    });
  }
  return {
    identifier: first.resource,
    tokenTtlSeconds: Math.min(first.tokenTtlSeconds, tokenTtlSeconds ?? Number.POSITIVE_INFINITY),
    signingAlg: first.signingAlg,
    narrowsScope: first.narrowsScope,
    hasLegacyClaims: first.hasLegacyClaims,
    granted,
  };
}
