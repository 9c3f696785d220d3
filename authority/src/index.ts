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
export { loadConfig, type OpenDataDir, openAuthority, openDataDir } from './open-authority.js';
export { type OperatorKey, readOperatorKey } from './operator-key.js';
export { matchesIdPattern, parseIdPattern } from './registry/id-pattern.js';
export * from './registry/registry.js';
export {
  openSqliteRegistry,
  type SqliteRegistryOptions,
} from './registry/sqlite/sqlite-registry.js';
export { loadSigningKeys, type SigningKeys } from './signing-keys.js';
