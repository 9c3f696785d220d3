/** Public surface of `@latchkey/agent`, the library for programs on a device: exports only. */
export { AgentError, type AgentErrorCode } from './client/agent-error.js';
export {
  type AgentClient,
  type AgentReport,
  type ConnectOptions,
  connectAgent,
  type ResourceToken,
} from './client/connect-agent.js';
export type { Published, PublishOptions } from './client/publications.js';
export type { ReceivedMessage, SubscribeOptions, Subscription } from './client/subscription.js';
