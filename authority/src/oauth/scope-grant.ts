/**
 * What scope a token gets: all that the client has, or the part that it asked for.
 *
 * Units   none.
 * Errors  `InvalidScopeError`; one value that is not covered refuses the whole request.
 * Source  RFC 6749 3.3 and 5.1; DESIGN 4.
 *
 * @module
 */
import {
  FormatError,
  formatScope,
  formatTopicScope,
  InvalidScopeError,
  parseScope,
  type ScopeSet,
  scopeCovers,
  type TopicScope,
} from '@latchkey/shared';
import type { ExpandedPermission } from './resource.js';

function parseRequested(requested: string): ScopeSet {
  try {
    return parseScope(requested);
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    throw new InvalidScopeError(error.message);
  }
}

/** The permission of that name, if the client has it and it can be granted. */
function permissionNamed(granted: readonly ExpandedPermission[], name: string): ExpandedPermission {
  const permission = granted.find((candidate) => candidate.name === name);
  if (permission === undefined) {
    throw new InvalidScopeError('scope names a permission or scope that the client does not have');
  }
  if (permission.missingLabel !== undefined) {
    throw new InvalidScopeError(
      `scope names the permission ${permission.name}, which needs the label ${permission.missingLabel}`,
    );
  }
  return permission;
}

/** Canonical text of the scopes that some permissions give, each once. */
function formatGranted(
  permissions: readonly ExpandedPermission[],
  narrower: readonly TopicScope[] = [],
): string {
  const topicScopes = new Map<string, TopicScope>();
  const plainScopes = new Set<string>();
  for (const scope of [...narrower, ...permissions.flatMap((p) => p.topicScopes)]) {
    topicScopes.set(formatTopicScope(scope), scope);
  }
  for (const { name, topicScopes } of permissions) {
    if (topicScopes.length === 0) plainScopes.add(name);
  }
  return formatScope({ topicScopes: [...topicScopes.values()], plainScopes: [...plainScopes] });
}

/** Scope string of the token. Without a request it is everything that can be granted. */
export function grantScope(
  granted: readonly ExpandedPermission[],
  requested: string | undefined,
): string {
  const available = granted.filter(({ missingLabel }) => missingLabel === undefined);
  if (requested === undefined) return formatGranted(available);
  const { topicScopes, plainScopes } = parseRequested(requested);
  const own = available.flatMap((permission) => permission.topicScopes);
  const uncovered = topicScopes.find((scope) => !scopeCovers(own, scope));
  if (uncovered !== undefined) {
    throw new InvalidScopeError(
      `scope is wider than the client's rights: ${formatTopicScope(uncovered)}`,
    );
  }
  const named = plainScopes.map((name) => permissionNamed(granted, name));
  return formatGranted(named, topicScopes);
}
