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
import { type Clock, type Logger, UnavailableError } from '@latchkey/shared';
import SqliteDatabase from 'better-sqlite3';
import type { Registry } from '../registry.js';
import { createAssertions } from './assertions.js';
import { createAuditLog } from './audit-log.js';
import { createAuditedChanges } from './audited-changes.js';
import { startCheckpoints } from './checkpoints.js';
import { createClientStore } from './client-store.js';
import { openDatabase } from './database.js';
import { createEnrollments } from './enrollments.js';
import { createFeed } from './feed.js';
import { createGroupCommit } from './group-commit.js';
import { createLogSync } from './log-sync.js';
import { createPermissions } from './permissions.js';
import { createResources } from './resources.js';
import { createRevokedTokens } from './revoked-tokens.js';
import { createRoleLabels } from './role-labels.js';
import { createRoles } from './roles.js';
import { createSigningKeyTable, SigningKeysChangedError } from './signing-keys.js';

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
  /** Of a program that serves requests: then a thread checkpoints, and no commit has to. */
  readonly servesWith?: { readonly logger: Logger } | undefined;
}

export function openSqliteRegistry(options: SqliteRegistryOptions): Registry {
  const { path, clock, isReadOnly = false, servesWith } = options;
  const db = openDatabase({ path, isReadOnly });
  const checkpoints = servesWith && startCheckpoints({ db, path, clock, ...servesWith });
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
  const feed = createFeed({ db });
  const logSync = createLogSync({ db });
  const group = createGroupCommit({ db, logSync });
  const auditLog = createAuditLog({ db, clock });
  const audited = createAuditedChanges({ db, auditLog });
  const write = <Result>(work: () => Result) =>
    run(() => {
      logSync.requireSound();
      return audited.change(work);
    });
  return {
    createResource: (resource) => write(() => resources.create(resource)),
    resource: (identifier) => run(() => resources.resource(identifier)),
    listResources: (page) => run(() => resources.list(page)),
    patchResource: (...change) => write(() => resources.patch(...change)),
    deleteResource: (...change) => write(() => resources.remove(...change)),
    createPermission: (permission) => write(() => permissions.create(permission)),
    permission: (name) => run(() => permissions.permission(name)),
    listPermissions: (page) => run(() => permissions.list(page)),
    patchPermission: (...change) => write(() => permissions.patch(...change)),
    deletePermission: (...change) => write(() => permissions.remove(...change)),
    createRole: (...role) => write(() => roles.create(...role)),
    role: (name) => run(() => roles.role(name)),
    listRoles: (page) => run(() => roles.list(page)),
    patchRole: (...change) => write(() => roles.patch(...change)),
    deleteRole: (...change) => write(() => roles.remove(...change)),
    createClient: (client, reach) => write(() => clients.create(client, reach)),
    client: (id, reach) => run(() => reader.client(id, reach)),
    importClients: (lines, options) => {
      const work = () => store.importClients(lines, options);
      return options?.isDryRun ? run(work) : write(work);
    },
    listClients: (filter, page) => run(() => store.list(filter, page)),
    summarizeFleet: (...asked) => run(() => store.summarize(...asked)),
    patchClient: (...change) => write(() => clients.patch(...change)),
    setClientStatus: (...change) => write(() => endings.setStatus(...change)),
    deleteClient: (...change) => write(() => endings.remove(...change)),
    freeClientId: (id) => write(() => endings.free(id)),
    addClientKey: (...change) => write(() => clientKeys.add(...change)),
    removeClientKey: (...change) => write(() => clientKeys.remove(...change)),
    startKeyRotation: (...change) => write(() => clientKeys.startRotation(...change)),
    endKeyRotation: (...change) => write(() => clientKeys.endRotation(...change)),
    addClientSecret: (...change) => write(() => secrets.add(...change)),
    removeClientSecret: (...change) => write(() => secrets.remove(...change)),
    startSecretRotation: (...change) => write(() => secrets.startRotation(...change)),
    endSecretRotation: (...change) => write(() => secrets.endRotation(...change)),
    verifySecret: (id, secret) => run(() => secrets.verify(id, secret)),
    activeKey: (id, kid) => run(() => active.activeKey(id, kid)),
    rights: (...of) => run(() => active.rights(...of)),
    createEnrollment: (enrollment, reach) => write(() => enrollments.create(enrollment, reach)),
    enrollment: (id, reach) => run(() => enrollments.enrollment(id, reach)),
    listEnrollments: (page, reach) => run(() => enrollments.list(page, reach)),
    revokeEnrollment: (...change) => write(() => enrollments.revoke(...change)),
    redeem: (redemption) => write(() => enrollments.redeem(redemption)),
    spendAndRecord: (assertion, event) =>
      run(() =>
        group.run(() => {
          // Whoever was revoked since its rights were read gets nothing.
          const isFirst = active.isActive(assertion.clientId) && assertions.spend(assertion);
          if (isFirst) auditLog.append(event);
          return isFirst;
        }),
      ),
    spendAssertion: (assertion) => run(() => group.run(() => assertions.spend(assertion))),
    revokeToken: (token) => write(() => revokedTokens.revoke(token)),
    isTokenRevoked: (jti) => run(() => revokedTokens.isRevoked(jti)),
    signingKeys: () => run(() => signingKeys.list()),
    feedMark: () => run(() => feed.mark()),
    feedSnapshot: (request) => run(() => feed.snapshot(request)),
    feedChanges: (request) => run(() => feed.changes(request)),
    renewFeed: () => write(() => feed.renew()),
    onFeedChange: (listener) => feed.onChange(listener),
    changeSigningKeys: (change) =>
      write(() => signingKeys.change(change)).then(
        () => true,
        (error: unknown) => {
          if (error instanceof SigningKeysChangedError) return false;
          throw error;
        },
      ),
    recordEvent: (event) => run(() => group.run(() => auditLog.append(event))),
    withEvent: (draft, work) => audited.with(draft, work),
    listEvents: (filter, page) => run(() => auditLog.list(filter, page)),
    auditState: () => run(() => auditLog.state()),
    cutEvents: (before) => run(() => auditLog.cut(before)),
    close: () =>
      run(async () => {
        await group.drained();
        await checkpoints?.stop();
        logSync.close();
        db.close();
      }),
  };
}
