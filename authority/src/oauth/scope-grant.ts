/**
 * What scope a token gets: all that the client has, or the part that it asked for.
 *
 * Units   none.
 * Errors  `InvalidScopeError`. One value that is not covered refuses the whole request, unless the
 *         resource narrows: then the token gets what both sides have in common, if that is anything.
 *         A scope that cannot be read is refused in any case.
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
import { narrowTopicScope } from './narrow-scope.js';
import type { ChosenResource, ExpandedPermission } from './resource.js';

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

function grantExactly(granted: readonly ExpandedPermission[], requested: ScopeSet): string {
  const own = granted.flatMap(({ topicScopes }) => topicScopes);
  const uncovered = requested.topicScopes.find((scope) => !scopeCovers(own, scope));
  if (uncovered !== undefined) {
    throw new InvalidScopeError(
      `scope is wider than the client's rights: ${formatTopicScope(uncovered)}`,
    );
  }
  const named = requested.plainScopes.map((name) => permissionNamed(granted, name));
  return formatGranted(named, requested.topicScopes);
}

function grantNarrowed(available: readonly ExpandedPermission[], requested: ScopeSet): string {
  const own = available.flatMap(({ topicScopes }) => topicScopes);
  const narrowed = requested.topicScopes.flatMap((scope) => narrowTopicScope(own, scope));
  const named = available.filter(({ name }) => requested.plainScopes.includes(name));
  if (narrowed.length === 0 && named.length === 0) {
    throw new InvalidScopeError('scope has nothing in common with the rights of the client');
  }
  return formatGranted(named, narrowed);
}

/** Scope string of the token. Without a request it is everything that can be granted. */
export function grantScope(
  { granted, narrowsScope }: Pick<ChosenResource, 'granted' | 'narrowsScope'>,
  requested: string | undefined,
): string {
  const available = granted.filter(({ missingLabel }) => missingLabel === undefined);
  if (requested === undefined) return formatGranted(available);
  const set = parseRequested(requested);
  return narrowsScope ? grantNarrowed(available, set) : grantExactly(granted, set);
}
