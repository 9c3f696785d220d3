/**
 * What programs on the device can ask of the agent, without knowing what a token is; HTTP/1.1.
 *
 * `POST /publish`, `GET /subscribe`, `POST /token`, `GET /status`, `GET /healthz` (503: red), `GET /metrics`,
 * `GET` and `DELETE /outbox`; their files say what they take and answer. An error answers `{error, error_description}`.
 *
 * Units   none.
 * Errors  none leave: each becomes an answer.
 * Source  DESIGN 7; RFC 9110 15.5.5 (404), 15.5.6 (405).
 *
 * @module
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from '@latchkey/shared';
import { type Health, healthBody } from '../health.js';
import { type Answer, RequestError, readJson, refusal } from './answer.js';
import { METRICS_CONTENT_TYPE } from './metrics.js';
import { answerOutboxDrop, answerOutboxList, type OutboxDeps } from './outbox.js';
import { answerPublish, type PublishDeps } from './publish.js';
import { mayUseOutbox, type Rules } from './rules.js';
import type { Streams } from './subscribe.js';
import type { TokenDesk } from './token.js';

export interface RouteDeps extends PublishDeps, OutboxDeps {
  readonly streams: Streams;
  readonly tokenDesk: TokenDesk;
  readonly status: () => object;
  readonly health: Pick<Health, 'problems'>;
  /** In the text format of Prometheus. */
  readonly metrics: () => string;
  readonly logger: Logger;
}

interface Call {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly url: URL;
  readonly rules: Rules;
}

/** `undefined`: the route has answered itself. */
type Route = (call: Call, deps: RouteDeps) => Promise<Answer | undefined> | Answer | undefined;

const MESSAGE_OF_OUTBOX = /^\/outbox\/([1-9][0-9]{0,14})$/;
const KNOWN =
  'known are POST /publish, GET /subscribe, POST /token, GET /status, GET /healthz, GET /metrics, GET and DELETE /outbox';

const ofOutbox =
  (route: Route): Route =>
  (call, deps) =>
    mayUseOutbox(call.rules)
      ? route(call, deps)
      : refusal(403, 'refused', 'the rules of this socket do not allow to see the outbox');

const dropOne =
  (sequence: number): Route =>
  (_call, deps) =>
    answerOutboxDrop({ sequence }, deps);

const ROUTES: ReadonlyMap<string, ReadonlyMap<string, Route>> = new Map<string, Map<string, Route>>(
  [
    [
      '/publish',
      new Map([
        [
          'POST',
          async ({ request, rules }, deps) => answerPublish(await readJson(request), rules, deps),
        ],
      ]),
    ],
    [
      '/subscribe',
      new Map([
        [
          'GET',
          ({ url, rules, response }, { streams }) => {
            streams.open(url.searchParams, rules, response);
            return undefined;
          },
        ],
      ]),
    ],
    [
      '/token',
      new Map([
        [
          'POST',
          async ({ request, rules }, { tokenDesk }) =>
            tokenDesk.answer(await readJson(request), rules),
        ],
      ]),
    ],
    ['/status', new Map([['GET', (_call, { status }) => ({ status: 200, body: status() })]])],
    [
      '/healthz',
      new Map([
        [
          'GET',
          (_call, { health }) => {
            const problems = health.problems();
            return { status: problems.length === 0 ? 200 : 503, body: healthBody(problems) };
          },
        ],
      ]),
    ],
    [
      '/metrics',
      new Map([
        [
          'GET',
          ({ response }, { metrics }) => {
            response.writeHead(200, { 'content-type': METRICS_CONTENT_TYPE }).end(metrics());
            return undefined;
          },
        ],
      ]),
    ],
    [
      '/outbox',
      new Map([
        ['GET', ofOutbox((_call, deps) => answerOutboxList(deps))],
        ['DELETE', ofOutbox((_call, deps) => answerOutboxDrop('all', deps))],
      ]),
    ],
  ],
);

function methodsOf(pathname: string): ReadonlyMap<string, Route> | undefined {
  const [, sequence] = MESSAGE_OF_OUTBOX.exec(pathname) ?? [];
  if (sequence === undefined) return ROUTES.get(pathname);
  return new Map([['DELETE', ofOutbox(dropOne(Number(sequence)))]]);
}

async function answer(call: Call, deps: RouteDeps): Promise<Answer | undefined> {
  const methods = methodsOf(call.url.pathname);
  if (methods === undefined) return refusal(404, 'not_found', KNOWN);
  const route = methods.get(call.request.method ?? '');
  if (route !== undefined) return route(call, deps);
  const known = [...methods.keys()];
  const text = `the method must be ${known.join(' or ')}`;
  return { ...refusal(405, 'invalid_request', text), headers: { allow: known.join(', ') } };
}

function parseUrl(text: string | undefined): URL {
  const url = `http://agent${text}`;
  if (!URL.canParse(url)) throw new RequestError(404, 'not_found', KNOWN);
  return new URL(url);
}

/** Answers one request. */
export async function respond(
  request: IncomingMessage,
  response: ServerResponse,
  rules: Rules,
  deps: RouteDeps,
): Promise<void> {
  let result: Answer | undefined;
  try {
    result = await answer({ request, response, rules, url: parseUrl(request.url) }, deps);
  } catch (error) {
    if (error instanceof RequestError) result = error.answer;
    else if (request.destroyed && !request.complete)
      return; // the program went away
    else {
      deps.logger.error(
        { event: 'socket.failed', err: error },
        'request on the local socket failed',
      );
      result = refusal(500, 'server_error', 'unexpected failure; the log of the agent says more');
    }
  }
  if (result === undefined || response.headersSent) return;
  response.writeHead(result.status, {
    'content-type': 'application/json',
    ...result.headers,
    ...(result.status === 413 && { connection: 'close' }),
  });
  response.end(JSON.stringify(result.body));
}
