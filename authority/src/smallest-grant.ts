/**
 * What would have to be given for a refused request to be allowed: the narrowest topic scope, and the
 * roles there are that would do.
 *
 * Units   `qos`: 0 to 2.
 * Errors  none.
 * Source  DESIGN 4 (Topic scopes).
 *
 * @module
 */
import {
  type ClientId,
  compileTopicRights,
  decide,
  FormatError,
  formatTopicScope,
  parseTopicFilter,
  type Qos,
  type ResourceId,
  type RoleName,
  type TopicRequest,
} from '@latchkey/shared';
import { expandPermission } from './oauth/resource.js';
import type { Labels, Registry } from './registry/registry.js';

type Question = Exclude<TopicRequest, { readonly action: 'receive' }>;

export interface Grant {
  /** Narrowest topic scope, as a template: the client's own id is a placeholder. */
  readonly scope: string;
  /** Roles that would allow it, those with the fewest permissions first. */
  readonly roles: readonly RoleName[];
}

/** Items of the catalog that are looked at, and roles that are named. */
const MAX_LOOKED_AT = 1000;
const MAX_NAMED = 5;

/** The scope's text as a template: braces are literal, and the client's own id may be anybody's. */
function toTemplate(scope: string, clientId: ClientId): string {
  const at = scope.indexOf(':') + 1;
  const levels = scope
    .slice(at)
    .split('/')
    .map((level) => {
      if (level === clientId) return '{client_id}';
      return level.replaceAll('{', '%7B').replaceAll('}', '%7D');
    });
  return scope.slice(0, at) + levels.join('/');
}

function narrowestScope(question: Question, clientId: ClientId): string | undefined {
  const { action, topic, qos } = question;
  try {
    const scope = formatTopicScope({
      action: action === 'publish' ? 'pub' : 'sub',
      filter: parseTopicFilter(topic),
      maxQos: qos as Qos,
      isRetainAllowed: action === 'publish' && question.retain,
    });
    return toTemplate(scope, clientId);
  } catch (error) {
    if (error instanceof FormatError) return undefined;
    throw error;
  }
}

async function rolesThatAllow(
  registry: Registry,
  subject: { readonly clientId: ClientId; readonly labels: Labels },
  question: Question,
  resource: ResourceId,
): Promise<readonly RoleName[]> {
  const page = { limit: MAX_LOOKED_AT, after: undefined };
  const permissions = await registry.listPermissions(page);
  const allowing = permissions.items
    .filter((permission) => permission.resource === resource)
    .filter((permission) => {
      const { topicScopes } = expandPermission(permission, subject.clientId, subject.labels);
      return decide(compileTopicRights(topicScopes), question).allowed;
    });
  const names = new Set(allowing.map(({ name }) => name));
  const roles = await registry.listRoles(page);
  return roles.items
    .filter((role) => role.permissions.some((name) => names.has(name)))
    .sort((one, other) => one.permissions.length - other.permissions.length)
    .slice(0, MAX_NAMED)
    .map(({ name }) => name);
}

/** `undefined` when no grant helps, as for a topic that is malformed. */
export async function smallestGrant(
  deps: { readonly registry: Registry; readonly isCatalogShown: boolean },
  subject: { readonly clientId: ClientId; readonly labels: Labels },
  question: Question,
  resource: ResourceId | undefined,
): Promise<Grant | undefined> {
  const scope = narrowestScope(question, subject.clientId);
  if (scope === undefined) return undefined;
  const isKnown = deps.isCatalogShown && resource !== undefined;
  const roles = isKnown ? await rolesThatAllow(deps.registry, subject, question, resource) : [];
  return { scope, roles };
}
