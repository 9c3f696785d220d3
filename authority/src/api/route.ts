/**
 * Routes of the management API as data: what each needs, takes and answers. One place registers them
 * all, so that none forgets its checks, its entity tag or its log line; the OpenAPI document and the
 * tests walk over the same list.
 *
 * Units   none.
 * Errors  `ConfigError` for a body or query that is not valid; those of `authorize`.
 * Source  RFC 9110 8.8.3, 13.1.1, 13.1.2, 15.3.2 (201), 15.3.5 (204), 15.4.5 (304).
 *
 * @module
 */
import { type Logger, parseWith } from '@latchkey/shared';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type * as v from 'valibot';
import type { Condition } from '../registry/lifecycle.js';
import { formatEntityTag, isKnown, parseIfMatch } from './entity-tag.js';
import { authorize, type Needs, type Operator } from './operator.js';

/** Members of an answer, in `snake_case`. */
export type Json = Readonly<Record<string, unknown>>;

export interface RouteRequest<Body, Query> {
  readonly operator: Operator;
  /** Parts of the path, not yet parsed. */
  readonly params: Readonly<Record<string, string>>;
  readonly body: Body;
  readonly query: Query;
  /** What a change is conditional on: `If-Match`, and what the operator reaches. */
  readonly condition: Condition;
}

export interface RouteAnswer {
  /** Absent: 204. */
  readonly body?: Json;
  /** Of the item in the body; becomes its entity tag. */
  readonly version?: number;
  /** What was changed: the id, for the log. */
  readonly target?: string | number;
}

export interface RouteSpec<Body, Query> {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  /** Below `/api/v1`, with `:name` for parts that vary. */
  readonly path: string;
  readonly needs: Needs;
  /** One line for the documentation. */
  readonly summary: string;
  readonly query?: v.GenericSchema<unknown, Query>;
  readonly body?: v.GenericSchema<unknown, Body>;
  /** Form of the answer; absent: there is none. */
  readonly answer?: v.GenericSchema;
  /** Status of success. */
  readonly success: 200 | 201 | 204;
  /** Event that a change is logged as, and the field that names what was changed. */
  readonly change?: { readonly event: string; readonly subject: string };
  /** Largest body in bytes; default that of the server. */
  readonly bodyLimit?: number;
  /** Whether `If-Match` is heeded. */
  readonly isConditional?: boolean;
  handle(request: RouteRequest<Body, Query>): Promise<RouteAnswer>;
}

/** A route whatever it takes. */
export type Route = RouteSpec<unknown, unknown>;

/** Writes a route down with the types of its schemas. */
export function route<Body = undefined, Query = undefined>(spec: RouteSpec<Body, Query>): Route {
  return spec;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Set before the body is read. */
    operator: Operator | undefined;
  }
}

function sendAnswer(
  reply: FastifyReply,
  { success }: Route,
  answer: RouteAnswer,
): Json | undefined {
  if (answer.version !== undefined) reply.header('etag', formatEntityTag(answer.version));
  reply.code(success);
  return answer.body;
}

async function handle(
  route: Route,
  request: FastifyRequest,
  reply: FastifyReply,
  logger: Logger,
): Promise<Json | undefined> {
  const operator = request.operator as Operator;
  const { body, query } = route;
  const versions = parseIfMatch(request.headers['if-match']);
  const answer = await route.handle({
    operator,
    params: request.params as Readonly<Record<string, string>>,
    body: body && parseWith(body, request.body ?? {}, 'the request'),
    query: query && parseWith(query, { ...(request.query as object) }, 'the query'),
    condition: { versions, reach: operator.reach },
  });
  if (route.change !== undefined) {
    const { event, subject } = route.change;
    logger.info(
      { event, [subject]: answer.target, operator: operator.clientId },
      'changed by an operator',
    );
  }
  const { version } = answer;
  if (route.method === 'GET' && version !== undefined) {
    if (isKnown(request.headers['if-none-match'], version)) {
      reply.header('etag', formatEntityTag(version)).code(304);
      return undefined;
    }
  }
  return sendAnswer(reply, route, answer);
}

export function registerRoutes(
  app: FastifyInstance,
  routes: readonly Route[],
  deps: {
    readonly authenticate: (authorization: string | undefined) => Promise<Operator>;
    readonly logger: Logger;
  },
): void {
  for (const one of routes) {
    app.route({
      method: one.method,
      url: one.path,
      ...(one.bodyLimit !== undefined && { bodyLimit: one.bodyLimit }),
      // Before the body is read: a stranger's body is not worth parsing.
      onRequest: async (request) => {
        request.operator = await deps.authenticate(request.headers.authorization);
        request.clientId = request.operator.clientId;
        authorize(request.operator, one.needs);
      },
      handler: async (request, reply) => {
        const answer = await handle(one, request, reply, deps.logger);
        return answer ?? reply.send();
      },
    });
  }
}
