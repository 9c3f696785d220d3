/**
 * What the agent is told to do: the values of its config file, parsed.
 *
 * Units   `...Seconds`, `...Bytes`; paths are absolute.
 * Errors  none.
 * Source  STYLE 2.6; `config-file.ts` reads it.
 *
 * @module
 */
import type { ResourceId, TopicFilter, TopicName } from '@latchkey/shared';
import type { OutboxLimits } from './outbox.js';

export type Qos = 0 | 1 | 2;
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
/** Program and arguments; no shell reads them. */
export type Command = readonly [string, ...string[]];

export interface BrokerConfig {
  readonly url: URL;
  /** Audience of the token. */
  readonly resource: ResourceId;
  readonly keepaliveSeconds: number;
  /** Whether the broker forgets subscriptions and queued messages when the connection ends. */
  readonly isCleanSession: boolean;
  /** Whether the next token is published to `$latchkey/renew`; else a new connection presents it. */
  readonly renewsInSession: boolean;
}

export interface LimitConfig {
  readonly above: number;
  /** How far below `above` a reading must fall before the limit counts as no longer passed. */
  readonly hysteresis: number;
  readonly topic: TopicName;
  readonly payloadAbove: string;
  readonly payloadBelow: string;
  readonly qos: Qos;
  readonly isRetained: boolean;
}

export interface SourceConfig {
  readonly name: string;
  readonly input:
    | { readonly kind: 'file'; readonly path: string }
    | { readonly kind: 'command'; readonly command: Command; readonly timeoutSeconds: number };
  readonly scale: number;
  readonly unit: string | undefined;
  readonly everySeconds: number;
  readonly topic: TopicName;
  readonly qos: Qos;
  readonly isRetained: boolean;
  readonly limits: readonly LimitConfig[];
}

export interface ActionConfig {
  readonly name: string;
  readonly filter: TopicFilter;
  readonly qos: 0 | 1;
  readonly command: Command;
  readonly timeoutSeconds: number;
  /** Where the command's output is published; nowhere when `undefined`. */
  readonly topic: TopicName | undefined;
  readonly isRetained: boolean;
}

export interface OutboxConfig {
  readonly limits: OutboxLimits;
  /** Topics whose messages go before all others. */
  readonly alarmFilters: readonly TopicFilter[];
}

export interface KeyConfig {
  /** In place of `SSH_AUTH_SOCK`. */
  readonly sshAgentSocket: string | undefined;
}

export interface AgentConfig {
  readonly stateDir: string;
  readonly logLevel: LogLevel;
  readonly key: KeyConfig;
  readonly broker: BrokerConfig;
  readonly outbox: OutboxConfig;
  readonly sources: readonly SourceConfig[];
  readonly actions: readonly ActionConfig[];
  /** Folder in which commands run: that of the config file. */
  readonly workingDir: string;
}
