/**
 * A program on the device, as the agent's local socket knows it.
 *
 * @module
 */
import { Agent as Connections, request } from 'node:http';
import { text } from 'node:stream/consumers';

export interface LocalMessage {
  readonly topic: string;
  readonly payload: string;
  readonly qos?: 0 | 1 | 2;
  /** Until the broker acknowledged it. */
  readonly wait?: boolean;
}

export interface SocketAnswer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

export interface AgentSocket {
  /** The answer, or `undefined` when there was none: nobody knows then whether the message was accepted. */
  publish(message: LocalMessage): Promise<SocketAnswer | undefined>;
  status(): Promise<SocketAnswer | undefined>;
}

export function openAgentSocket(socketPath: string): AgentSocket {
  const connections = new Connections({ keepAlive: true });
  const ask = (method: string, path: string, body?: object) =>
    new Promise<SocketAnswer | undefined>((resolve) => {
      const none = () => resolve(undefined);
      const outgoing = request({ socketPath, method, path, agent: connections }, (response) => {
        text(response).then(
          (said) => resolve({ status: response.statusCode ?? 0, body: JSON.parse(said) }),
          none,
        );
      });
      outgoing.once('error', none);
      outgoing.end(body === undefined ? undefined : JSON.stringify(body));
    });
  return {
    publish: (message) => ask('POST', '/publish', message),
    status: () => ask('GET', '/status'),
  };
}
