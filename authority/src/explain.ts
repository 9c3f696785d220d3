/**
 * Explains one decision at a broker: which role, permission and scope allow it, or what is missing and
 * the smallest grant that would do.
 *
 * It expands what the client has as the token endpoint does, and asks the function that the broker
 * asks, so it cannot disagree with either (I12).
 *
 * Units   `qos`: 0 to 2.
 * Errors  `FormatError` when the client has rights at several resources and none is named, or for a
 *         supposed role that there is not.
 * Source  DESIGN 4 and 9 (I12).
 *
 * @module
 */
import {
  compileTopicRights,
  decide,
  FormatError,
  formatTopicScope,
  InvalidTargetError,
  type PermissionName,
  parseScope,
  type ResourceId,
  type RoleName,
  type TopicRequest,
} from '@latchkey/shared';
import { type ChosenResource, chooseResource } from './oauth/resource.js';
import { grantScope } from './oauth/scope-grant.js';
import type { Client, ClientRights, Registry } from './registry/registry.js';
import { type Grant, smallestGrant } from './smallest-grant.js';

export type Question = Exclude<TopicRequest, { readonly action: 'receive' }>;

/** A permission of the client that cannot be granted until a label is set. */
export interface MissingLabel {
  readonly permission: PermissionName;
  readonly label: string;
}

export interface Explanation {
  readonly isAllowed: boolean;
  /** `allowed`, a reason of the decision, or why there was nothing to decide from. */
  readonly reason: string;
  readonly detail: string;
  readonly resource: ResourceId | undefined;
  /** Canonical text of the scope that allows, or of the one that comes closest. */
  readonly scope: string | undefined;
  /** Of that scope. */
  readonly permission: PermissionName | undefined;
  /** Roles of the client that hold the permission. */
  readonly roles: readonly RoleName[];
  readonly missingLabels: readonly MissingLabel[];
  /** What would allow it; `undefined` when it is allowed or no grant helps. */
  readonly grant: Grant | undefined;
}

const NOTHING = {
  resource: undefined,
  scope: undefined,
  permission: undefined,
  roles: [],
  missingLabels: [],
  grant: undefined,
} as const;

const deny = (reason: string, detail: string, more: Partial<Explanation> = {}): Explanation => ({
  ...NOTHING,
  isAllowed: false,
  reason,
  detail,
  ...more,
});

/** What the client has at the resource; `undefined` when that is nothing at all. */
function chooseBroker(
  rights: ClientRights,
  client: Client,
  resource: ResourceId | undefined,
): ChosenResource | undefined {
  const permissions = rights.permissions.filter(({ kind }) => kind === 'mqtt');
  const own = [...new Set(permissions.map((permission) => permission.resource))];
  if (resource === undefined && own.length > 1) {
    throw new FormatError('resource', `is required; the client has rights at ${own.join(' ')}`);
  }
  try {
    return chooseResource({ ...rights, permissions }, client.id, resource);
  } catch (error) {
    if (error instanceof InvalidTargetError) return undefined;
    throw error;
  }
}

/** The client's permission that gives a scope, and its roles that hold it. */
async function originOf(
  registry: Registry,
  client: Client,
  chosen: ChosenResource,
  scope: string | undefined,
): Promise<Pick<Explanation, 'permission' | 'roles'>> {
  const permission = chosen.granted.find(({ topicScopes }) =>
    topicScopes.some((own) => formatTopicScope(own) === scope),
  )?.name;
  const roles = await Promise.all(client.roles.map((role) => registry.role(role)));
  const holding = roles.filter((role) => role?.permissions.some((name) => name === permission));
  return { permission, roles: holding.flatMap((role) => (role ? [role.name] : [])) };
}

/** Roles that a client is supposed to have, or not to have, beside those that it has. */
export interface Supposition {
  readonly withRoles: readonly RoleName[];
  readonly withoutRoles: readonly RoleName[];
}

/** The client's roles under a supposition; `undefined` when there is none. */
async function supposedRoles(
  registry: Registry,
  { roles }: Client,
  { withRoles, withoutRoles }: Supposition,
): Promise<readonly RoleName[] | undefined> {
  if (withRoles.length === 0 && withoutRoles.length === 0) return undefined;
  for (const name of withRoles) {
    if ((await registry.role(name)) === undefined) {
      throw new FormatError('with_role', `names ${name}, and there is no such role`);
    }
  }
  const all = new Set([...roles, ...withRoles]);
  for (const name of withoutRoles) {
    if (!all.delete(name)) {
      throw new FormatError('without_role', `names ${name}, which the client does not have`);
    }
  }
  return [...all];
}

/** Without `isCatalogShown`, roles that the client does not have are not named. */
export async function explain(
  deps: { readonly registry: Registry; readonly isCatalogShown: boolean },
  found: Client,
  question: Question,
  { resource, ...supposition }: Supposition & { readonly resource: ResourceId | undefined },
): Promise<Explanation> {
  const { registry } = deps;
  const supposed = await supposedRoles(registry, found, supposition);
  const client = supposed === undefined ? found : { ...found, roles: supposed };
  const rights = await registry.rights(client.id, supposed);
  if (rights === undefined) {
    const { status } = client;
    return deny(`client-${status}`, `the client is ${status} and gets no token`, { resource });
  }
  const chosen = chooseBroker(rights, client, resource);
  const at = chosen?.identifier ?? resource;
  const grant = () => smallestGrant(deps, { ...rights, clientId: client.id }, question, at);
  if (chosen === undefined) {
    const detail = 'the client has no rights at this resource and gets no token for it';
    return deny('no-rights', detail, { resource: at, grant: await grant() });
  }
  const { topicScopes } = parseScope(grantScope(chosen, undefined));
  const decision = decide(compileTopicRights(topicScopes), question);
  const entry = decision.allowed ? decision.scope : decision.nearest;
  const scope = entry && formatTopicScope(entry);
  const common = {
    resource: chosen.identifier,
    scope,
    ...(await originOf(registry, client, chosen, scope)),
    missingLabels: chosen.granted.flatMap(({ name, missingLabel }) =>
      missingLabel === undefined ? [] : [{ permission: name, label: missingLabel }],
    ),
  };
  if (decision.allowed) {
    const detail = 'one scope of its tokens covers this';
    return { ...common, isAllowed: true, reason: 'allowed', detail, grant: undefined };
  }
  const canHelp = decision.reason !== 'topic-invalid';
  return deny(decision.reason, decision.detail, {
    ...common,
    grant: canHelp ? await grant() : undefined,
  });
}
