/**
 * Requests to a local socket of the agent, as a program in any language makes them.
 *
 * @module
 */
import { request } from 'node:http';
import { text } from 'node:stream/consumers';
import { onTestFinished } from 'vitest';

export interface LocalReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  readonly body: Record<string, unknown>;
}

export function askSocket(
  socketPath: string,
  method: string,
  path: string,
  body?: unknown,
): Promise<LocalReply> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath, method, path, agent: false }, (response) => {
      const { statusCode: status = 0, headers } = response;
      text(response).then((answer) => {
        const isJson = headers['content-type'] === 'application/json';
        resolve({ status, headers, text: answer, body: isJson ? JSON.parse(answer) : {} });
      }, reject);
    });
    outgoing.once('error', reject);
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

export interface LocalEvent {
  readonly event: string;
  readonly data: Record<string, unknown>;
}

export interface EventStream {
  readonly status: number;
  /** The next event; comments are skipped and counted. */
  next(): Promise<LocalEvent>;
  readonly comments: number;
  /** Stops and resumes reading. */
  pause(): void;
  resume(): void;
  close(): void;
  readonly ended: Promise<void>;
}

/** Opens `GET /subscribe` with this query; ends with the test. */
export function openEvents(socketPath: string, query: string): Promise<EventStream> {
  return new Promise((resolve, reject) => {
    const path = `/subscribe?${query}`;
    const outgoing = request({ socketPath, path, agent: false }, (response) => {
      const events: LocalEvent[] = [];
      const waiting: ((event: LocalEvent) => void)[] = [];
      let comments = 0;
      let rest = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        const blocks = (rest + chunk).split('\n\n');
        rest = blocks.pop() ?? '';
        for (const block of blocks) {
          const [, event, data] = /^event: (\w+)\ndata: (.*)$/.exec(block) ?? [];
          if (event === undefined || data === undefined) comments += 1;
          else {
            const parsed = { event, data: JSON.parse(data) };
            const next = waiting.shift();
            if (next === undefined) events.push(parsed);
            else next(parsed);
          }
        }
      });
      response.on('error', () => undefined);
      onTestFinished(() => void response.destroy());
      resolve({
        status: response.statusCode ?? 0,
        next: () =>
          new Promise((done) => {
            const event = events.shift();
            if (event === undefined) waiting.push(done);
            else done(event);
          }),
        get comments() {
          return comments;
        },
        pause: () => void response.pause(),
        resume: () => void response.resume(),
        close: () => void response.destroy(),
        ended: new Promise((done) => void response.once('close', done)),
      });
    });
    outgoing.once('error', reject);
    outgoing.end();
  });
}
