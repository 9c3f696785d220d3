/**
 * Who asks, and what they may do: the one place that decides.
 *
 * An operator has the scopes that its token carries and its roles still give. One that is limited to
 * a label reaches only clients and enrollments with it. Rights at the management API itself are given
 * and touched by nobody but an operator with the scope `all` and no limit, or others could make
 * themselves wider.
 *
 * Units   none.
 * Errors  `InsufficientScopeError` names the missing scope; `OutOfReachError`.
 * Source  RFC 6750 3.1; DESIGN 5.
 *
 * @module
 */
import {
  type ClientId,
  InsufficientScopeError,
  type Label,
  type ResourceId,
} from '@latchkey/shared';
import { type FinerScope, MANAGEMENT_SCOPE } from '../management.js';
import { OutOfReachError, type Reach } from '../registry/lifecycle.js';
import { ConflictError } from '../registry/registry.js';

export interface Operator {
  readonly clientId: ClientId;
  readonly scopes: ReadonlySet<string>;
  readonly limit: Label | undefined;
  /** What it may see and change of clients and enrollments; the registry keeps to it. */
  readonly reach: Reach;
}

export function createOperator(options: {
  readonly clientId: ClientId;
  readonly scopes: ReadonlySet<string>;
  readonly limit: Label | undefined;
  /** Identifier of the management API. */
  readonly resource: ResourceId;
}): Operator {
  const { clientId, scopes, limit, resource } = options;
  const isUnlimited = scopes.has(MANAGEMENT_SCOPE) && limit === undefined;
  const reach = { label: limit, exceptRolesAt: isUnlimited ? undefined : resource };
  return { clientId, scopes, limit, reach };
}

/** Whether it has every right there is. */
export function isUnlimited({ reach }: Operator): boolean {
  return reach.exceptRolesAt === undefined;
}

/** Whether a scope of the operator is, or holds, the one that is needed. */
export function hasScope({ scopes }: Operator, needed: FinerScope): boolean {
  const writing = needed.replace(/:read$/, ':write');
  return [MANAGEMENT_SCOPE, needed, writing].some((scope) => scopes.has(scope));
}

/** What a route asks of its caller. */
export interface Needs {
  readonly scope: FinerScope;
  /** `clients`: of clients and enrollments only, which a limited operator may reach; `fleet`: more. */
  readonly concerns: 'clients' | 'fleet';
}

/** Refuses an operator that may not use the route at all. */
export function authorize(operator: Operator, { scope, concerns }: Needs): void {
  if (!hasScope(operator, scope)) {
    throw new InsufficientScopeError(`the access token lacks the scope ${scope}`, {
      detail: `needs ${scope} or ${MANAGEMENT_SCOPE}`,
    });
  }
  if (concerns === 'fleet' && operator.limit !== undefined) {
    const { key, value } = operator.limit;
    throw new OutOfReachError(
      `the operator is limited to clients with the label ${key}=${value}; this concerns more than them`,
    );
  }
}

/** Refuses everybody who could make itself wider by what it asks for. */
export function requireUnlimited(operator: Operator, what: string): void {
  if (isUnlimited(operator)) return;
  throw new OutOfReachError(
    `${what}: only an operator with the scope ${MANAGEMENT_SCOPE}, not limited to a label, may do this`,
  );
}

/** Keeps operators from locking themselves out, and so the last one from locking out everybody. */
export function refuseSelf(operator: Operator, id: string): void {
  if (operator.clientId === id) {
    throw new ConflictError('client_id', 'is your own: let another operator do this');
  }
}
