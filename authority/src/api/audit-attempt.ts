/**
 * What a request to the management API is called in the audit log.
 *
 *     POST /clients                          create  /clients/t-42
 *     PATCH /clients/t-42                    change  /clients/t-42
 *     POST /clients/t-42/suspend             suspend /clients/t-42
 *     POST /devices/import                   import  /devices
 *     POST /clients/t-42/keys/rotation/start start   /clients/t-42/keys/rotation
 *
 * Units   none.
 * Errors  none.
 * Source  DESIGN 5.
 *
 * @module
 */
import type { FastifyRequest } from 'fastify';
import type { Attempt } from '../audit/request-audit.js';

const ACTIONS = new Map([
  ['PATCH', 'change'],
  ['PUT', 'change'],
  ['DELETE', 'delete'],
]);

/** Paths that end in one of these create; any other `POST` ends in a verb. */
const COLLECTIONS = new Set([
  'clients',
  'devices',
  'enrollments',
  'keys',
  'permissions',
  'resources',
  'roles',
  'secrets',
  'services',
]);

const CLIENT_PATH = /^\/(?:clients|devices|services)(?:\/([^/]+))?/;

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

/** `path` is below `/api/v1`. `undefined` for what changes nothing. */
export function nameAttempt(
  method: string,
  path: string,
): { readonly action: string; readonly target: string } | undefined {
  if (method === 'GET' || method === 'HEAD') return undefined;
  const action = ACTIONS.get(method);
  if (action !== undefined) return { action, target: path };
  const at = path.lastIndexOf('/');
  const last = path.slice(at + 1);
  if (COLLECTIONS.has(last)) return { action: 'create', target: path };
  return { action: last, target: path.slice(0, at) };
}

/** `prefix`: path of the management API. */
export function createDescribeAttempt(
  prefix: string,
): (request: FastifyRequest) => Attempt | undefined {
  return (request) => {
    const path = request.url.replace(/\?.*$/s, '').slice(prefix.length);
    const named = nameAttempt(request.method, path);
    if (named === undefined) return undefined;
    const id = named.action === 'import' ? undefined : CLIENT_PATH.exec(path)?.[1];
    return {
      type: path.startsWith('/signing-keys') ? 'signing-key' : 'management',
      ...named,
      actor: request.operator?.clientId,
      clientId: id === undefined ? undefined : decoded(id),
    };
  };
}
