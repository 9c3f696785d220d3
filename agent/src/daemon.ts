/** Public surface of `@latchkey/agent/daemon`, the agent itself: exports only. */
export { type Agent, type AgentDeps, createAgent } from './agent.js';
export { type AuthorityTime, createAuthorityTime, learnTimeFrom } from './authority-time.js';
export { type Comeback, openComeback, type Pace } from './comeback.js';
export type {
  ActionConfig,
  AgentConfig,
  AuthorityConfig,
  BrokerConfig,
  Command,
  KeyConfig,
  LimitConfig,
  LogLevel,
  OutboxConfig,
  PayloadFormat,
  Qos,
  SocketAddress,
  SourceConfig,
  SourceInput,
} from './config.js';
export { loadAgentConfig, parseAgentConfig } from './config-file.js';
export { type CurrentKey, openCurrentKey, withCurrentKey } from './current-key.js';
export {
  type EnrollmentDeps,
  type EnrollmentRequest,
  type EnrollmentResult,
  enroll,
} from './enrollment.js';
export type { Problem, ProblemKind } from './health.js';
export { type Identity, openIdentity, readIdentity } from './identity.js';
export { createIssuedTokenSource, type IssuedTokenDeps } from './issued-token.js';
export {
  isRotationUnderWay,
  type KeyRotationDeps,
  type KeyRotationResult,
  rotateKey,
} from './key-rotation.js';
export { isRotationDue, runKeySchedule } from './key-schedule.js';
export { type KeyHolders, newStoredKey, type StoredKey } from './key-store.js';
export { createTokenSource } from './minted-token.js';
export type { Message } from './mqtt-connection.js';
export {
  ConnectRefusedError,
  OfflineError,
  OutboxFullError,
  PublishRefusedError,
} from './mqtt-errors.js';
export type { OutboxLimits } from './outbox.js';
export { type FailureContext, type Reaction, reactTo } from './reactions.js';
export { hasChanged, isAboveLimit, type Reading, readNumber, readText } from './reading.js';
export type { ReloadPlan } from './reload-plan.js';
export { isUsable, type Lifetime, renewalAt, safetyMarginSeconds } from './renewal.js';
export {
  createSshAgentSigner,
  listSshIdentities,
  type SshAgentOptions,
  type SshIdentity,
} from './ssh-agent.js';
export type { AgentState, AgentStatus, Counter } from './state.js';
export { keepTime } from './time-file.js';
export { openTokenCache, type TokenCache } from './token-cache.js';
export type { AccessToken, TokenPurpose, TokenSource } from './token-source.js';
