/** Public surface of `@latchkey/broker-plugin`: exports only. */
export type {
  Explain,
  ExplainRequest,
  ExplainSubject,
  Explanation,
} from './explain.js';
export { createLatchkey, type Latchkey } from './latchkey.js';
export { METRICS_CONTENT_TYPE } from './metrics.js';
export type {
  BannedNotice,
  ConnectNotice,
  ConnectRefusedNotice,
  Events,
  LatchkeyEvents,
  RefusedNotice,
  RenewedNotice,
} from './notices.js';
export { DEFAULT_LIMITS, type FeedOptions, type LatchkeyOptions, type Limits } from './options.js';
export { DEFAULT_PROTECTION, type ProtectionOptions } from './protection-options.js';
export type { GuardOptions, Handshake } from './stream-guard.js';
export type { ClaimPath } from './trust/claim-path.js';
export type { ClientTable } from './trust/client-table.js';
export type { ThirdPartyIssuerOptions } from './trust/third-party-issuer.js';
