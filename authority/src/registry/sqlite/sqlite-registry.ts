/**
 * The registry in one SQLite file.
 *
 * Units   none.
 * Errors  those of `Registry`. What SQLite cannot do now (disk full, locked, I/O error) becomes
 *         `UnavailableError`, so that clients try again; any other SQLite error is a bug.
 * Source  https://sqlite.org/rescode.html
 *
 * @module
 */
import { type Clock, UnavailableError } from '@latchkey/shared';
import SqliteDatabase from 'better-sqlite3';
import type { Registry } from '../registry.js';
import { createAssertions } from './assertions.js';
import { createAuditLog } from './audit-log.js';
import { createAuditedChanges } from './audited-changes.js';
import { createClientStore } from './client-store.js';
import { openDatabase } from './database.js';
import { createEnrollments } from './enrollments.js';
import { createGroupCommit } from './group-commit.js';
import { createPermissions } from './permissions.js';
import { createResources } from './resources.js';
import { createRevokedTokens } from './revoked-tokens.js';
import { createRoleLabels } from './role-labels.js';
import { createRoles } from './roles.js';
import { createSigningKeyTable } from './signing-keys.js';

const TRANSIENT = /^SQLITE_(BUSY|FULL|IOERR|LOCKED|NOMEM|READONLY)/;

/** Runs work as a promise, and names failures of the storage. */
async function run<Result>(work: () => Result | Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof SqliteDatabase.SqliteError && TRANSIENT.test(cause.code)) {
      throw new UnavailableError('the registry cannot be used now', { detail: cause.code, cause });
    }
    throw cause;
  }
}

export interface SqliteRegistryOptions {
  /** Path of a file that exists; an empty one becomes a new registry. */
  readonly path: string;
  readonly clock: Clock;
  readonly isReadOnly?: boolean;
}

export function openSqliteRegistry({ path, clock, isReadOnly }: SqliteRegistryOptions): Registry {
  const db = openDatabase({ path, isReadOnly: isReadOnly ?? false });
  const roleLabels = createRoleLabels({ db });
  const resources = createResources({ db, clock });
  const permissions = createPermissions({ db, clock, roleLabels });
  const roles = createRoles({ db, clock, roleLabels });
  const store = createClientStore({ db, clock, roleLabels });
  const { reader, clients, clientKeys, secrets, endings, active } = store;
  const enrollments = createEnrollments({ db, clock, roleLabels, ...store });
  const assertions = createAssertions({ db, clock });
  const revokedTokens = createRevokedTokens({ db, clock });
  const signingKeys = createSigningKeyTable({ db });
  return {
    createResource: (resource) => run(() => resources.create(resource)),
    resource: (identifier) => run(() => resources.resource(identifier)),
    listResources: (page) => run(() => resources.list(page)),
    patchResource: (...change) => run(() => resources.patch(...change)),
    deleteResource: (...change) => run(() => resources.remove(...change)),
    createPermission: (permission) => run(() => permissions.create(permission)),
    permission: (name) => run(() => permissions.permission(name)),
    listPermissions: (page) => run(() => permissions.list(page)),
    patchPermission: (...change) => run(() => permissions.patch(...change)),
    deletePermission: (...change) => run(() => permissions.remove(...change)),
    createRole: (role) => run(() => roles.create(role)),
    role: (name) => run(() => roles.role(name)),
    listRoles: (page) => run(() => roles.list(page)),
    patchRole: (...change) => run(() => roles.patch(...change)),
    deleteRole: (...change) => run(() => roles.remove(...change)),
    createClient: (client, reach) => run(() => clients.create(client, reach)),
    client: (id, reach) => run(() => reader.client(id, reach)),
    listClients: (filter, page) => run(() => store.list(filter, page)),
    patchClient: (...change) => run(() => clients.patch(...change)),
    setClientStatus: (...change) => run(() => endings.setStatus(...change)),
    deleteClient: (...change) => run(() => endings.remove(...change)),
    freeClientId: (id) => run(() => endings.free(id)),
    addClientKey: (...change) => run(() => clientKeys.add(...change)),
    removeClientKey: (...change) => run(() => clientKeys.remove(...change)),
    startKeyRotation: (...change) => run(() => clientKeys.startRotation(...change)),
    endKeyRotation: (...change) => run(() => clientKeys.endRotation(...change)),
    addClientSecret: (...change) => run(() => secrets.add(...change)),
    removeClientSecret: (...change) => run(() => secrets.remove(...change)),
    startSecretRotation: (...change) => run(() => secrets.startRotation(...change)),
    endSecretRotation: (...change) => run(() => secrets.endRotation(...change)),
    verifySecret: (id, secret) => run(() => secrets.verify(id, secret)),
    activeKey: (id, kid) => run(() => active.activeKey(id, kid)),
    rights: (id) => run(() => active.rights(id)),
    createEnrollment: (enrollment, reach) => run(() => enrollments.create(enrollment, reach)),
    enrollment: (id, reach) => run(() => enrollments.enrollment(id, reach)),
    listEnrollments: (page, reach) => run(() => enrollments.list(page, reach)),
    revokeEnrollment: (...change) => run(() => enrollments.revoke(...change)),
    redeem: (redemption) => run(() => enrollments.redeem(redemption)),
    spendAssertion: (assertion) => run(() => assertions.spend(assertion)),
    revokeToken: (token) => run(() => revokedTokens.revoke(token)),
    isTokenRevoked: (jti) => run(() => revokedTokens.isRevoked(jti)),
    signingKeys: () => run(() => signingKeys.list()),
    changeSigningKeys: (change) => run(() => signingKeys.change(change)),
    close: () =>
      run(() => {
        db.close();
      }),
  };
}
