/** Public surface of `@latchkey/authority`: exports only. */
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
export { type InitOptions, initDataDir } from './init.js';
export { createLogger } from './log.js';
export { MANAGEMENT_SCOPE, managementResource } from './management.js';
export { narrowTopicScope } from './oauth/narrow-scope.js';
export { loadConfig, type OpenDataDir, openAuthority, openDataDir } from './open-authority.js';
export { type OperatorKey, readOperatorKey } from './operator-key.js';
export * from './registry/feed-store.js';
export { matchesIdPattern, parseIdPattern } from './registry/id-pattern.js';
export * from './registry/registry.js';
export * from './registry/revoked-tokens.js';
export * from './registry/signing-key-store.js';
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
