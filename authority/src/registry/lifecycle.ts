/**
 * Changes to what the registry holds: life cycle of clients, their keys and secrets, and of the catalog.
 *
 * Each call is one transaction and raises the item's `version`. What a change is conditional on is
 * checked inside it, so that nothing can come between the check and the change.
 *
 * Units   NumericDate; `tokenTtlSeconds` in seconds.
 * Errors  `MissingError` (nothing there, or out of reach), `OutOfReachError` (visible, but not to be
 *         changed by this operator), `VersionError` (changed meanwhile), `ConflictError` (the state does
 *         not allow it), `FormatError` (a field refers to something unknown).
 * Source  DESIGN 4 and 5; RFC 9110 13.1.1 (If-Match).
 *
 * @module
 */
import type {
  ClientId,
  Kid,
  Label,
  NumericDate,
  PermissionName,
  PublicKey,
  ResourceId,
  RoleName,
} from '@latchkey/shared';
import type {
  Client,
  ClientStatus,
  Enrollment,
  Permission,
  Resource,
  ResourceOptions,
  Role,
} from './registry.js';

/** There is no such item, or none that the operator may see. */
export class MissingError extends Error {
  constructor(noun: string) {
    super(`there is no such ${noun}`);
    this.name = 'MissingError';
  }
}

/** The item is there, and this operator may not change it, or not in this way. */
export class OutOfReachError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'OutOfReachError';
  }
}

/** The item is of another version than the change was made for. */
export class VersionError extends Error {
  constructor() {
    super('the item was changed meanwhile: read it again');
    this.name = 'VersionError';
  }
}

/** Which clients and enrollments an operator may see and change. */
export interface Reach {
  /** Only those with this label, before and after the change; others are as if they did not exist. */
  readonly label?: Label | undefined;
  /** None that has a role with permissions at this resource, and no giving of such a role. */
  readonly exceptRolesAt?: ResourceId | undefined;
}

/** What must be true for a change to happen. */
export interface Condition {
  /** Versions that it was made for; `undefined`: whatever the version is. */
  readonly versions?: readonly number[] | undefined;
  readonly reach?: Reach | undefined;
}

export interface ResourcePatch extends Partial<ResourceOptions> {
  readonly tokenTtlSeconds?: number;
}

/** Members that are absent stay as they are; `null` takes a value away. */
export interface ClientPatch {
  /** All roles that the client has afterwards. */
  readonly roles?: readonly RoleName[];
  /** Labels to set, or with `null` to take away; others stay. */
  readonly labels?: ReadonlyMap<string, string | null>;
  readonly mayMint?: boolean;
  readonly tokenTtlSeconds?: number | null;
  readonly limitedToLabel?: Label | null;
  /** Only ever rises: what is void stays void. */
  readonly tokensNotBefore?: NumericDate;
}

export interface NewClientKey {
  readonly key: Pick<PublicKey, 'kid' | 'jwk'>;
  /** For people, such as `spare`; may be empty. */
  readonly label?: string;
  readonly notBefore?: NumericDate | undefined;
  readonly expiresAt?: NumericDate | undefined;
}

/** A secret that was made; the secret itself is never stored. */
export interface NewClientSecret {
  /** SHA-256 of the secret, which has 256 random bits, so that a plain hash is enough. */
  readonly hash: Uint8Array;
  readonly prefix: string;
  readonly lastFour: string;
  readonly label: string;
  readonly expiresAt: NumericDate | undefined;
}

/** What is known of a secret after its creation. */
export interface ClientSecret extends Omit<NewClientSecret, 'hash'> {
  readonly id: number;
  readonly createdAt: NumericDate;
}

/** Two of a client's keys or secrets, both valid until the rotation is finished or cancelled. */
export interface Rotation<Id> {
  /** Ends with `finish`. */
  readonly old: Id;
  /** Ends with `cancel`. */
  readonly new: Id;
  readonly startedAt: NumericDate;
}

export type Ending = 'finish' | 'cancel';

export interface CatalogChanges {
  patchResource(
    identifier: ResourceId,
    patch: ResourcePatch,
    condition?: Condition,
  ): Promise<Resource>;
  /** Refused while a permission is for it. */
  deleteResource(identifier: ResourceId, condition?: Condition): Promise<void>;
  /** Refused when a client with the permission would lack a label that the new scopes need. */
  patchPermission(
    name: PermissionName,
    patch: { readonly scopes: readonly string[] },
    condition?: Condition,
  ): Promise<Permission>;
  /** Refused while a role holds it. */
  deletePermission(name: PermissionName, condition?: Condition): Promise<void>;
  /** Refused when a client with the role would lack a label that it then needs. */
  patchRole(
    name: RoleName,
    patch: { readonly permissions: readonly PermissionName[] },
    condition?: Condition,
  ): Promise<Role>;
  /** Refused while a client has it or an enrollment code that can be redeemed gives it. */
  deleteRole(name: RoleName, condition?: Condition): Promise<void>;
}

export interface ClientLifecycle {
  patchClient(id: ClientId, patch: ClientPatch, condition?: Condition): Promise<Client>;
  /** `revoked` is final; it also voids every token issued until now. */
  setClientStatus(id: ClientId, status: ClientStatus, condition?: Condition): Promise<Client>;
  /** Ends the client; its id stays taken. */
  deleteClient(id: ClientId, condition?: Condition): Promise<void>;
  /** Lets the id of a deleted client be registered again. */
  freeClientId(id: ClientId): Promise<void>;

  addClientKey(id: ClientId, key: NewClientKey, condition?: Condition): Promise<Client>;
  /** The last key of a client goes only with `isForced`. */
  removeClientKey(
    id: ClientId,
    kid: Kid,
    options?: Condition & { readonly isForced?: boolean },
  ): Promise<Client>;
  /** Adds a key that replaces `oldKid`, or the only key there is, when the rotation is finished. */
  startKeyRotation(
    id: ClientId,
    rotation: NewClientKey & { readonly oldKid?: Kid | undefined },
    condition?: Condition,
  ): Promise<Client>;
  endKeyRotation(id: ClientId, ending: Ending, condition?: Condition): Promise<Client>;

  /** At most two at once, for services only. */
  addClientSecret(
    id: ClientId,
    secret: NewClientSecret,
    condition?: Condition,
  ): Promise<ClientSecret>;
  removeClientSecret(id: ClientId, secret: number, condition?: Condition): Promise<Client>;
  startSecretRotation(
    id: ClientId,
    secret: NewClientSecret,
    condition?: Condition,
  ): Promise<ClientSecret>;
  endSecretRotation(id: ClientId, ending: Ending, condition?: Condition): Promise<Client>;
  /**
   * Whether the secret is one of an active client and not expired. Costs the same for unknown clients
   * and wrong secrets.
   */
  verifySecret(id: ClientId, secret: string): Promise<boolean>;

  /** The code cannot be redeemed any more. */
  revokeEnrollment(id: number, condition?: Condition): Promise<Enrollment>;
}
