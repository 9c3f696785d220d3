/**
 * The library for programs on a device: publish, subscribe and tokens through the agent that runs there.
 *
 * It loads nothing but `node:http`. While the agent restarts, requests wait and subscriptions come back.
 *
 * Units   milliseconds, NumericDate.
 * Errors  `AgentError`, whose `code` says what to do.
 * Source  DESIGN 7; `local/routes.ts`.
 *
 * @module
 */
import { AgentError, errorOf } from './agent-error.js';
import { createPublications, type Published, type PublishOptions } from './publications.js';
import { type Body, createRequests } from './requests.js';
import { openSubscription, type SubscribeOptions, type Subscription } from './subscription.js';

/** Of an agent whose state folder is the one that the README names. */
const DEFAULT_SOCKET = '/var/lib/latchkey-agent/agent.sock';
const DEFAULT_TIMEOUT_MS = 30_000;

export interface ConnectOptions {
  /** `agent.sock` in the state folder, or a `[[socket]]` of the config. */
  readonly socketPath?: string;
  /** How long a request waits for an agent that does not run. Default 30 s. */
  readonly timeoutMs?: number;
}

export interface ResourceToken {
  /** For an `Authorization: Bearer` header, and nowhere else. */
  readonly accessToken: string;
  readonly expiresAt: number;
  /** What was granted. */
  readonly scope: string;
}

export interface AgentReport {
  readonly state: string;
  readonly since: number;
  readonly detail: string | null;
  readonly clientId: string;
  readonly outbox: { readonly messages: number; readonly bytes: number };
  readonly counters: Readonly<Record<string, number>>;
  /** What else `GET /status` tells, its names in camel case. */
  readonly [name: string]: unknown;
}

export interface AgentClient {
  /**
   * Resolves once the message is safe on this device's disk; the agent sends it when it can. Messages
   * of one topic keep their order. When the agent dies in between, one may be sent twice.
   */
  publish(
    topic: string,
    payload: string | Uint8Array,
    options?: PublishOptions,
  ): Promise<Published>;
  /** Messages of these filters, from now until it is closed. */
  subscribe(filters: string | readonly string[], options?: SubscribeOptions): Subscription;
  /** A token for a service other than the broker; the agent keeps it until it is near its end. */
  token(resource: string, options?: { readonly scope?: string }): Promise<ResourceToken>;
  status(): Promise<AgentReport>;
  /** Ends subscriptions and whatever waits. */
  close(): void;
}

const camelCase = (name: string): string =>
  name.replace(/_([a-z])/g, (_all, letter: string) => letter.toUpperCase());

function inCamelCase(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [camelCase(name), inCamelCase(member)]),
  );
}

/** A client of the agent on this device. Makes no connection before it is used. */
export function connectAgent(options: ConnectOptions = {}): AgentClient {
  const { socketPath = DEFAULT_SOCKET, timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  const requests = createRequests(socketPath, timeoutMs);
  const { publish } = createPublications(requests);

  const ask = async (method: 'GET' | 'POST', path: string, body?: object): Promise<Body> => {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const { status, body: answer } = await requests.send(method, path, text);
    if (status === 200) return answer;
    throw errorOf(status, answer);
  };

  return {
    publish: (topic, payload, more = {}) => publish(topic, payload, more),
    subscribe: (filters, more = {}) =>
      openSubscription(requests, typeof filters === 'string' ? [filters] : filters, more),
    token: async (resource, more = {}) => {
      const answer = await ask('POST', '/token', { resource, ...more });
      const { access_token: accessToken, expires_at: expiresAt, scope } = answer;
      if (typeof accessToken !== 'string' || typeof expiresAt !== 'number') {
        throw new AgentError('failed', 'the agent answered without what was asked for');
      }
      return { accessToken, expiresAt, scope: String(scope) };
    },
    status: async () => inCamelCase(await ask('GET', '/status')) as AgentReport,
    close: requests.close,
  };
}
