/** Public surface of `@latchkey/authority`: exports only. */

export { type ManagementDeps, managementRoutes } from './api/management-api.js';
export { openApiDocument } from './api/openapi.js';
export type { Route } from './api/route.js';
export { type Audit, boundedEvent, createAudit } from './audit/audit.js';
export { type ChainCheck, type ChainFault, createChainCheck } from './audit/chain.js';
export { CHAIN_BEGINNING, hashEvent } from './audit/event-hash.js';
export { findChainFault } from './audit/registry-chain.js';
export { cutOldEvents } from './audit/retention.js';
export {
  type Authority,
  type AuthorityConfig,
  type AuthorityDeps,
  createAuthority,
  ListenError,
} from './authority.js';
export type { Io } from './cli/io.js';
export { buildProgram, runProgram } from './cli/program.js';
export { type Config, type ListenAddress, type LogLevel, parseConfig } from './config.js';
export { type DataDirPaths, dataDirPaths } from './data-dir.js';
export { DEFAULT_LIMITS, type Limits, RateLimitedError } from './http/request-limits.js';
export { loadTls, type TlsFiles } from './http/tls.js';
export { type InitOptions, initDataDir } from './init.js';
export { createLogger } from './log.js';
export {
  FINER_SCOPES,
  type FinerScope,
  MANAGEMENT_SCOPE,
  managementResource,
} from './management.js';
export { createMetrics, type Metrics } from './metrics.js';
export { narrowTopicScope } from './oauth/narrow-scope.js';
export { loadConfig, type OpenDataDir, openAuthority, openDataDir } from './open-authority.js';
export { type OperatorKey, readOperatorKey } from './operator-key.js';
export * from './registry/audit-log.js';
export * from './registry/client-import.js';
export * from './registry/feed-store.js';
export { matchesIdPattern, parseIdPattern } from './registry/id-pattern.js';
export * from './registry/lifecycle.js';
export * from './registry/registry.js';
export * from './registry/revoked-tokens.js';
export * from './registry/signing-key-store.js';
export { startCheckpoints } from './registry/sqlite/checkpoints.js';
export { copyDatabase } from './registry/sqlite/copy.js';
export { createGroupCommit, type GroupCommit } from './registry/sqlite/group-commit.js';
export { createLogSync, type LogSync } from './registry/sqlite/log-sync.js';
export { MIGRATIONS } from './registry/sqlite/migrations/index.js';
export {
  openSqliteRegistry,
  type SqliteRegistryOptions,
} from './registry/sqlite/sqlite-registry.js';
export { readKeyEncryptionKey } from './signing/key-encryption-key.js';
export { createKeyFiles, type KeyFile, type KeyFiles } from './signing/key-files.js';
export type { KeyHolder } from './signing/key-holder.js';
export {
  createSigningKeys,
  DEFAULT_ALGORITHM,
  type RotationOutcome,
  type SigningKeys,
} from './signing-keys.js';
