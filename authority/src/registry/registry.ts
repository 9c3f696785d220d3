/**
 * The registry: who exists, what may be asked for, and what was spent. The one interface to storage.
 *
 * Methods are asynchronous although SQLite is not, so that a database server can stand behind them.
 * Each method is one transaction: it happens as a whole or not at all, and what it acknowledged
 * survives a power cut (I10).
 *
 * Units   NumericDate; `tokenTtlSeconds` in seconds.
 * Errors  `FormatError` names a field that refers to something unknown; `ConflictError` a field whose
 *         value is taken; `InvalidGrantError` for enrollment; `UnavailableError` when storage fails.
 * Source  DESIGN 5.
 *
 * @module
 */
import type {
  ClientId,
  Kid,
  Label,
  NumericDate,
  PermissionName,
  PublicJwk,
  PublicKey,
  ResourceId,
  RoleName,
  TokenAlgorithm,
} from '@latchkey/shared';
import type { AuditEvent, AuditLog } from './audit-log.js';
import type { ClientImport } from './client-import.js';
import type { FeedStore } from './feed-store.js';
import type { FleetSummaries } from './fleet-summary.js';
import type {
  CatalogChanges,
  ClientLifecycle,
  ClientSecret,
  Reach,
  Rotation,
} from './lifecycle.js';
import type { RevokedTokens } from './revoked-tokens.js';
import type { SigningKeyStore } from './signing-key-store.js';

/** A value that must be unique is taken. `field` names it; `problem` never echoes the value. */
export class ConflictError extends Error {
  readonly field: string;
  readonly problem: string;

  constructor(field: string, problem: string) {
    super(`${field} ${problem}`);
    this.name = 'ConflictError';
    this.field = field;
    this.problem = problem;
  }
}

export type ResourceKind = 'mqtt' | 'http';

/** How tokens for a resource are made. */
export interface ResourceOptions {
  /** Default `EdDSA`. */
  readonly signingAlg: TokenAlgorithm;
  /** Gives what a request may have of what it asks for, instead of refusing it. Default false. */
  readonly narrowsScope: boolean;
  /** Puts `scp` (an array) and `cid` beside `scope` and `client_id`. Default false. */
  readonly hasLegacyClaims: boolean;
}

/** A resource server: what a token is for. */
export interface Resource extends ResourceOptions {
  readonly identifier: ResourceId;
  readonly kind: ResourceKind;
  /** Lifetime of its tokens, 60 to 86,400 s. */
  readonly tokenTtlSeconds: number;
  readonly createdAt: NumericDate;
  /** Counts changes, from 1 on. */
  readonly version: number;
}

export type NewResource = Pick<Resource, 'identifier' | 'kind' | 'tokenTtlSeconds'> &
  Partial<ResourceOptions>;

/** A named alias of topic scopes (mqtt), or a plain scope of that name (http). */
export interface Permission {
  /** Unique in the authority. */
  readonly name: PermissionName;
  readonly resource: ResourceId;
  /** Topic scope templates; empty for a plain scope. */
  readonly scopes: readonly string[];
  readonly createdAt: NumericDate;
  readonly version: number;
}

export type NewPermission = Omit<Permission, 'createdAt' | 'version'>;

export interface Role {
  readonly name: RoleName;
  readonly permissions: readonly PermissionName[];
  readonly createdAt: NumericDate;
  readonly version: number;
}

export type NewRole = Omit<Role, 'createdAt' | 'version'>;

export type ClientKind = 'device' | 'service';
export type ClientStatus = 'active' | 'suspended' | 'revoked';
export type Labels = ReadonlyMap<string, string>;

export interface ClientKey {
  readonly kid: Kid;
  readonly jwk: PublicJwk;
  /** For people; may be empty. */
  readonly label: string;
  readonly createdAt: NumericDate;
  /** Not usable before; `undefined`: from the start. */
  readonly notBefore: NumericDate | undefined;
  /** Not usable from then on; `undefined`: for ever. */
  readonly expiresAt: NumericDate | undefined;
}

export interface Client {
  readonly id: ClientId;
  readonly kind: ClientKind;
  readonly status: ClientStatus;
  readonly roles: readonly RoleName[];
  readonly labels: Labels;
  readonly keys: readonly ClientKey[];
  readonly keyRotation: Rotation<Kid> | undefined;
  /** Without the secrets themselves, which nobody keeps. */
  readonly secrets: readonly ClientSecret[];
  readonly secretRotation: Rotation<number> | undefined;
  /** Whether tokens that it signs itself are accepted. */
  readonly mayMint: boolean;
  /** Narrows the lifetime that the resource gives, 60 to 86,400 s. */
  readonly tokenTtlSeconds: number | undefined;
  /** Tokens issued before are void; 0: none is. */
  readonly tokensNotBefore: NumericDate;
  /** As an operator, it reaches only clients with this label. */
  readonly limitedToLabel: Label | undefined;
  readonly createdAt: NumericDate;
  /** Counts changes, from 1 on. */
  readonly version: number;
}

/** All of it must be true of a client. */
export interface ClientFilter {
  readonly kind?: ClientKind | undefined;
  readonly status?: ClientStatus | undefined;
  readonly role?: RoleName | undefined;
  readonly labels?: readonly Label[] | undefined;
  readonly idPrefix?: string | undefined;
}

export interface NewClient {
  readonly id: ClientId;
  readonly kind: ClientKind;
  readonly roles: readonly RoleName[];
  readonly labels: Labels;
  /** Without a key the client waits for enrollment. */
  readonly key: PublicKey | undefined;
  /** Default false. */
  readonly mayMint?: boolean;
  readonly tokenTtlSeconds?: number | undefined;
  readonly limitedToLabel?: Label | undefined;
}

/** Which client ids an enrollment code is good for. */
export type EnrollmentTarget =
  /** Creates that device, or binds a key to it when it has none. */
  | { readonly clientId: ClientId }
  /** Creates new devices whose id matches; `*` stands for any characters. */
  | { readonly idPattern: string };

export interface Enrollment {
  readonly id: number;
  readonly target: EnrollmentTarget;
  readonly roles: readonly RoleName[];
  readonly labels: Labels;
  readonly uses: number;
  readonly usesLeft: number;
  readonly createdAt: NumericDate;
  readonly expiresAt: NumericDate;
  /** `undefined`: an operator did not revoke it. */
  readonly revokedAt: NumericDate | undefined;
  readonly version: number;
}

export interface NewEnrollment {
  /** `hashEnrollmentCode` of the code; the code itself is never stored. */
  readonly codeHash: string;
  readonly target: EnrollmentTarget;
  readonly roles: readonly RoleName[];
  readonly labels: Labels;
  readonly uses: number;
  readonly expiresAt: NumericDate;
}

export interface Redemption {
  readonly codeHash: string;
  readonly clientId: ClientId;
  /** The caller has verified that the device holds its private half. */
  readonly key: PublicKey;
}

/** One permission that an active client has through its roles. */
export interface GrantedPermission extends ResourceOptions {
  readonly name: PermissionName;
  readonly resource: ResourceId;
  readonly kind: ResourceKind;
  readonly tokenTtlSeconds: number;
  readonly scopes: readonly string[];
}

export interface ClientRights {
  readonly kind: ClientKind;
  readonly mayMint: boolean;
  readonly tokenTtlSeconds: number | undefined;
  readonly tokensNotBefore: NumericDate;
  readonly limitedToLabel: Label | undefined;
  readonly labels: Labels;
  readonly permissions: readonly GrantedPermission[];
}

export interface SpentAssertion {
  readonly clientId: ClientId;
  readonly jti: string;
  /** From then on the assertion is expired for everybody and its record can go. */
  readonly rememberUntil: NumericDate;
}

export interface PageRequest {
  /** 1 to 1000. */
  readonly limit: number;
  /** `next` of the page before. */
  readonly after: string | undefined;
}

export interface Page<Item> {
  readonly items: readonly Item[];
  /** `undefined` on the last page. */
  readonly next: string | undefined;
}

export interface Registry
  extends AuditLog,
    CatalogChanges,
    ClientImport,
    ClientLifecycle,
    RevokedTokens,
    SigningKeyStore,
    FeedStore,
    FleetSummaries {
  createResource(resource: NewResource): Promise<Resource>;
  resource(identifier: ResourceId): Promise<Resource | undefined>;
  listResources(page: PageRequest): Promise<Page<Resource>>;

  createPermission(permission: NewPermission): Promise<Permission>;
  permission(name: PermissionName): Promise<Permission | undefined>;
  listPermissions(page: PageRequest): Promise<Page<Permission>>;

  createRole(role: NewRole, reach?: Reach): Promise<Role>;
  role(name: RoleName): Promise<Role | undefined>;
  listRoles(page: PageRequest): Promise<Page<Role>>;

  createClient(client: NewClient, reach?: Reach): Promise<Client>;
  /** With a reach, `undefined` also for a client that is out of it. */
  client(id: ClientId, reach?: Reach): Promise<Client | undefined>;
  listClients(filter: ClientFilter, page: PageRequest): Promise<Page<Client>>;
  /**
   * The key by which an active client may sign now. Without a kid, its only one; `kid` selects among
   * this client's keys and never among others'.
   */
  activeKey(id: ClientId, kid: string | undefined): Promise<PublicKey | undefined>;
  /** What an active client may ask for, or would with other roles; `undefined` for anybody else. */
  rights(id: ClientId, supposedRoles?: readonly RoleName[]): Promise<ClientRights | undefined>;

  createEnrollment(enrollment: NewEnrollment, reach?: Reach): Promise<Enrollment>;
  enrollment(id: number, reach?: Reach): Promise<Enrollment | undefined>;
  listEnrollments(page: PageRequest, reach?: Reach): Promise<Page<Enrollment>>;
  /**
   * Spends one use of a code and binds the key. A client that already holds the very key gets the same
   * answer without spending, so a device that lost power after enrolling can ask again.
   */
  redeem(redemption: Redemption): Promise<{ readonly isNew: boolean }>;

  /** True for exactly one caller of each (`clientId`, `jti`). Concurrent calls are committed together. */
  spendAssertion(assertion: SpentAssertion): Promise<boolean>;
  /**
   * The same; the event of the one who wins is committed with it, and nothing of the others. False
   * also for a client that is not active any more.
   */
  spendAndRecord(assertion: SpentAssertion, event: AuditEvent): Promise<boolean>;

  close(): Promise<void>;
}
