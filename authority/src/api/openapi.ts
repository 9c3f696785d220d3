/**
 * `GET /api/v1/openapi.json`: the OpenAPI document, made of the routes and the schemas that validate.
 *
 * It needs no token: it says nothing that the source does not say.
 *
 * Units   none.
 * Errors  none.
 * Source  OpenAPI 3.1.1; RFC 9457 (problem details).
 *
 * @module
 */
import type { Issuer } from '@latchkey/shared';
import { managementResource } from '../management.js';
import { packageVersion } from '../version.js';
import { type JsonSchema, toJsonSchema } from './json-schema.js';
import type { Json, Route } from './route.js';

const PROBLEM: JsonSchema = {
  type: 'object',
  description: 'RFC 9457 problem details; `errors` names each field that is at fault',
  properties: {
    title: { type: 'string' },
    status: { type: 'integer' },
    detail: { type: 'string' },
    errors: {
      type: 'array',
      items: {
        type: 'object',
        properties: { field: { type: 'string' }, message: { type: 'string' } },
        required: ['field', 'message'],
      },
    },
  },
  required: ['title', 'status', 'detail'],
};

const REFUSALS = new Map([
  [400, 'BadRequest'],
  [401, 'Unauthorized'],
  [403, 'Forbidden'],
  [404, 'NotFound'],
  [409, 'Conflict'],
  [412, 'PreconditionFailed'],
]);

const MEANINGS: Readonly<Record<string, string>> = {
  BadRequest: 'A field or parameter is not valid',
  Unauthorized: 'The access token is missing or not valid',
  Forbidden: 'The scope is missing, which the detail names, or the operator does not reach this',
  NotFound: 'There is no such item, or none that the operator sees',
  Conflict: 'The state does not allow it: a name is taken, or something is in use',
  PreconditionFailed: 'The item is of another version than If-Match says',
};

/** `/clients/:id` as OpenAPI writes it, and the names of its parts. */
function pathOf(path: string): { readonly template: string; readonly names: readonly string[] } {
  const names = [...path.matchAll(/:([a-z]+)/g)].map((match) => match[1] as string);
  return { template: path.replaceAll(/:([a-z]+)/g, '{$1}'), names };
}

function queryParameters({ query }: Route): readonly Json[] {
  if (query === undefined) return [];
  const { properties, required = [] } = toJsonSchema(query) as {
    readonly properties: Readonly<Record<string, JsonSchema>>;
    readonly required?: readonly string[];
  };
  return Object.entries(properties).map(([name, schema]) => ({
    name,
    in: 'query',
    required: required.includes(name),
    schema,
  }));
}

function parametersOf(route: Route): readonly Json[] {
  const inPath = pathOf(route.path).names.map((name) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }));
  const ifMatch = {
    name: 'If-Match',
    in: 'header',
    required: false,
    description: 'Entity tag that the change is for; without it the last write wins',
    schema: { type: 'string' },
  };
  return [...inPath, ...queryParameters(route), ...(route.isConditional ? [ifMatch] : [])];
}

function successOf({ success, answer }: Route): Json {
  if (answer === undefined) return { description: 'Done' };
  return {
    description: success === 201 ? 'Created' : 'Done',
    content: { 'application/json': { schema: toJsonSchema(answer) } },
  };
}

/** Refusals that a route can answer with. */
function refusalsOf({ method, path, isConditional }: Route): readonly number[] {
  const statuses = [400, 401, 403];
  if (path.includes(':')) statuses.push(404);
  if (method !== 'GET') statuses.push(409);
  if (isConditional) statuses.push(412);
  return statuses;
}

function operationOf(route: Route): Json {
  const { needs, summary, success, body } = route;
  const refusals = refusalsOf(route).map((status) => [
    String(status),
    { $ref: `#/components/responses/${REFUSALS.get(status)}` },
  ]);
  const who =
    needs.concerns === 'fleet' ? 'Not for operators that are limited to a label.' : undefined;
  return {
    summary,
    operationId: operationIdOf(route),
    ...(who && { description: who }),
    tags: [route.path.split('/')[1]],
    security: [{ bearer: [needs.scope] }],
    parameters: parametersOf(route),
    ...(body && {
      requestBody: {
        required: true,
        content: { 'application/json': { schema: toJsonSchema(body) } },
      },
    }),
    responses: { [success]: successOf(route), ...Object.fromEntries(refusals) },
  };
}

/** Unique by construction: method and path. */
function operationIdOf({ method, path }: Route): string {
  const words = path.split(/[/:-]/).filter((word) => word !== '');
  return [method.toLowerCase(), ...words].join('_');
}

export function openApiDocument(issuer: Issuer, routes: readonly Route[]): Json {
  const paths = new Map<string, Record<string, Json>>();
  for (const route of routes) {
    const { template } = pathOf(route.path);
    const item = paths.get(template) ?? {};
    item[route.method.toLowerCase()] = operationOf(route);
    paths.set(template, item);
  }
  const responses = [...REFUSALS.values()].map((name) => [
    name,
    {
      description: MEANINGS[name],
      content: {
        'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } },
      },
    },
  ]);
  return {
    openapi: '3.1.1',
    info: {
      title: 'Latchkey management API',
      version: packageVersion(),
      description: `Access tokens for the resource ${managementResource(issuer)} with the scope all, or the one that an operation names. A scope that writes also reads.`,
    },
    servers: [{ url: `${managementResource(issuer)}/v1` }],
    paths: Object.fromEntries(paths),
    components: {
      schemas: { Problem: PROBLEM },
      responses: Object.fromEntries(responses),
      securitySchemes: { bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' } },
    },
  };
}
