/**
 * What the agent is told to do: the values of its config file, parsed.
 *
 * Units   `...Seconds`, `...Bytes`; paths are absolute.
 * Errors  none.
 * Source  STYLE 2.6; `config-file.ts` reads it.
 *
 * @module
 */
import type { ClientId, Issuer, ResourceId, TlsPin, TopicFilter } from '@latchkey/shared';
import type { OutboxLimits } from './outbox.js';
import type { FilterTemplate, NameTemplate } from './topic-templates.js';

export type Qos = 0 | 1 | 2;
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
/** Program and arguments; no shell reads them. */
export type Command = readonly [string, ...string[]];
export type SocketAddress =
  | { readonly host: string; readonly port: number }
  | { readonly path: string };
/** How a payload that the agent makes is written. */
export type PayloadFormat = 'json' | 'cbor';

/** What the broker publishes when the connection ends without DISCONNECT. */
export interface WillConfig {
  readonly topic: NameTemplate;
  readonly payload: string;
  readonly qos: Qos;
  readonly isRetained: boolean;
}

export interface BrokerConfig {
  /** One broker or the brokers of one cluster, in the order in which they are tried. */
  readonly urls: readonly [URL, ...URL[]];
  /** Audience of the token. */
  readonly resource: ResourceId;
  /** PEM of the certificate authorities to trust instead of the system's. */
  readonly caFile: string | undefined;
  readonly keepaliveSeconds: number;
  /** From the name's lookup to CONNACK, for each URL. */
  readonly connectTimeoutSeconds: number;
  /** For PUBACK, PUBCOMP, SUBACK and UNSUBACK; then the connection is given up. */
  readonly answerTimeoutSeconds: number;
  /** Soon after a start of the machine, the first try waits a random part of this. */
  readonly startSpreadSeconds: number;
  /** Whether the broker forgets subscriptions and queued messages when the connection ends. */
  readonly isCleanSession: boolean;
  /** Whether the next token is published to `$latchkey/renew`; else a new connection presents it. */
  readonly renewsInSession: boolean;
  readonly will: WillConfig | undefined;
}

export interface LimitConfig {
  readonly above: number;
  /** How far below `above` a reading must fall before the limit counts as no longer passed. */
  readonly hysteresis: number;
  readonly topic: NameTemplate;
  readonly payloadAbove: string;
  readonly payloadBelow: string;
  readonly qos: Qos;
  readonly isRetained: boolean;
}

export type SourceInput =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'command'; readonly command: Command; readonly timeoutSeconds: number }
  | {
      readonly kind: 'socket';
      readonly address: SocketAddress;
      /** Written after connecting. */
      readonly send: string | undefined;
      /** What ends the answer: its first line, or the other side. */
      readonly until: 'line' | 'end';
      readonly timeoutSeconds: number;
    };

export interface SourceConfig {
  readonly name: string;
  readonly input: SourceInput;
  /** What the text holds: the first number in it, all of it, or JSON. */
  readonly reads: 'number' | 'text' | 'json';
  /** Path of the number in the JSON that `changedBy` and `limits` look at, `a.b`; else the JSON itself. */
  readonly field: string | undefined;
  readonly scale: number;
  readonly unit: string | undefined;
  readonly everySeconds: number;
  /** A reading is published when it differs by more from the one published before; always when `undefined`. */
  readonly changedBy: number | undefined;
  /** After that time it is published although it did not change. */
  readonly atLeastEverySeconds: number | undefined;
  readonly topic: NameTemplate;
  readonly format: PayloadFormat;
  readonly qos: Qos;
  readonly isRetained: boolean;
  readonly limits: readonly LimitConfig[];
}

export interface ActionConfig {
  readonly name: string;
  readonly filter: FilterTemplate;
  readonly qos: 0 | 1;
  /** Payloads that run the command; any when `undefined`. */
  readonly payloads: readonly string[] | undefined;
  readonly command: Command;
  readonly timeoutSeconds: number;
  /** Messages that wait for the command; beyond, the oldest is dropped. */
  readonly maxWaiting: number;
  /** Where the answer is published; nowhere when `undefined`. */
  readonly topic: NameTemplate | undefined;
  /** `output`: what the command printed, if it succeeded. `result`: how it ended, whatever happened. */
  readonly publishes: 'output' | 'result';
  /** Of a result. */
  readonly format: PayloadFormat;
  readonly isRetained: boolean;
}

export interface OutboxConfig {
  readonly limits: OutboxLimits;
  /** Topics whose messages go before all others. */
  readonly alarmFilters: readonly TopicFilter[];
  /** How long the end of the program waits for messages to be sent. */
  readonly flushSeconds: number;
}

export interface AuthorityConfig {
  /** For a device that is not enrolled yet; of one that is, they have to be the same. */
  readonly issuer: Issuer | undefined;
  readonly clientId: ClientId | undefined;
  /** TLS keys of which the authority must have one. Empty: those of the enrollment, if any. */
  readonly tlsPins: readonly TlsPin[];
}

export interface KeyConfig {
  /** In place of `SSH_AUTH_SOCK`. */
  readonly sshAgentSocket: string | undefined;
  /** Age at which the agent replaces the key; 0: only by command. */
  readonly rotateAfterDays: number;
}

/** A local socket beside the one in the state folder. */
export interface SocketConfig {
  readonly path: string;
  readonly mode: number;
  /** Name or number; that of the agent's process when `undefined`. */
  readonly group: string | undefined;
  readonly rules: {
    readonly publish: readonly FilterTemplate[];
    readonly subscribe: readonly FilterTemplate[];
    readonly resources: readonly ResourceId[];
    readonly hasOutbox: boolean;
  };
}

export interface AgentConfig {
  readonly stateDir: string;
  readonly logLevel: LogLevel;
  readonly authority: AuthorityConfig;
  readonly key: KeyConfig;
  readonly broker: BrokerConfig;
  readonly outbox: OutboxConfig;
  readonly sockets: readonly SocketConfig[];
  readonly sources: readonly SourceConfig[];
  readonly actions: readonly ActionConfig[];
  /** Folder in which commands run: that of the config file. */
  readonly workingDir: string;
}
