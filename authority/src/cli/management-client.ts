/**
 * The command line's side of the management API: a client like any other, with the operator's key.
 *
 * Units   none.
 * Errors  `UsageError` for options that do not say which authority, `UnreachableError` (exit 3),
 *         `RefusedError` for what the authority refuses (exit 1).
 * Source  RFC 7523 2.1, RFC 9457.
 *
 * @module
 */
import {
  discover,
  type HttpRequest,
  type HttpResponse,
  type Issuer,
  parseIssuer,
  requestToken,
  UnreachableError,
  UsageError,
} from '@latchkey/shared';
import * as v from 'valibot';
import { dataDirPaths } from '../data-dir.js';
import { managementResource } from '../management.js';
import { type OperatorKey, readOperatorKey } from '../operator-key.js';
import type { Io } from './io.js';

/** Options that every command of a noun takes. */
export interface ManagementOptions {
  readonly dataDir?: string | undefined;
  readonly authority?: string | undefined;
  readonly operatorKey?: string | undefined;
}

/** An object as the API answers it, in `snake_case`. */
export type Item = Readonly<Record<string, unknown>>;

/** Parameters of a URL; one that is a list is repeated. */
export type Query = Readonly<Record<string, string | readonly string[] | undefined>>;

export interface ManagementClient {
  /** The authority that it talks to. */
  readonly issuer: Issuer;
  /** Creates something, or does what the path says; an empty answer is an empty item. */
  post(path: string, body?: Item, options?: { readonly timeoutMs?: number }): Promise<Item>;
  get(path: string, query?: Query): Promise<Item>;
  /** With a version, only if the item still is of it. */
  patch(path: string, body: Item, version?: number): Promise<Item>;
  /** Answers with what is left, if anything is. */
  remove(path: string, query?: Query): Promise<Item | undefined>;
  /** All items, each page when it is wanted. */
  pages(path: string, query?: Query): AsyncGenerator<readonly Item[]>;
  /** All items at once. */
  list(path: string, query?: Query): Promise<readonly Item[]>;
}

/** Path of one item. */
export function itemPath(path: string, id: string): string {
  return `${path}/${encodeURIComponent(id)}`;
}

function formatQuery(query: Query): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of [value ?? []].flat()) parameters.append(name, one);
  }
  return parameters.size === 0 ? '' : `?${parameters}`;
}

const PAGE_LIMIT = 500;
/** A token older than this that is refused may have expired: another is asked for, once. */
const FRESH_SECONDS = 30;
/** Waits after each other, when the authority is asked for too much. */
const MAX_WAITS = 10;
const MAX_WAIT_SECONDS = 60;

const itemSchema = v.record(v.string(), v.unknown());
const pageSchema = v.object({ items: v.array(itemSchema), next: v.nullable(v.string()) });
const problemSchema = v.object({
  detail: v.string(),
  errors: v.optional(v.array(v.object({ field: v.string(), message: v.string() })), []),
});

/** Problem details, as far as a person needs them. */
export interface Refusal {
  readonly detail: string;
  readonly errors: readonly { readonly field: string; readonly message: string }[];
}

/** The authority said no, and why: a line for each field. */
export class RefusedError extends Error {
  constructor({ detail, errors }: Refusal) {
    const lines = errors.map(({ field, message }) => `\n  ${field} ${message}`);
    super(lines.length > 1 ? `the authority refused:${lines.join('')}` : detail);
    this.name = 'RefusedError';
  }
}

function chooseKey({ dataDir, authority, operatorKey }: ManagementOptions): OperatorKey {
  if (dataDir !== undefined && (authority ?? operatorKey) !== undefined) {
    throw new UsageError('give either --data-dir, or --authority with --operator-key');
  }
  const path =
    operatorKey ?? (dataDir === undefined ? undefined : dataDirPaths(dataDir).operatorKey);
  if (path === undefined) {
    throw new UsageError('which authority? give --data-dir, or --authority with --operator-key');
  }
  const key = readOperatorKey(path);
  // An assertion must never go to another authority than the one that the key is for.
  if (authority !== undefined && parseIssuer(authority, '--authority') !== key.issuer) {
    throw new UsageError(`--authority: the operator key is for ${key.issuer}`);
  }
  return key;
}

function parseAnswer<Schema extends v.GenericSchema>(
  schema: Schema,
  body: string,
): v.InferOutput<Schema> {
  try {
    return v.parse(schema, JSON.parse(body));
  } catch (cause) {
    throw new UnreachableError('the authority answered with something unexpected', { cause });
  }
}

async function withHint<Result>(work: Promise<Result>): Promise<Result> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof UnreachableError)) throw error;
    throw new UnreachableError(`${error.message}\nis "latchkey serve" running?`, { cause: error });
  }
}

interface SendOptions {
  readonly body?: Item;
  readonly version?: number | undefined;
  readonly timeoutMs?: number;
}

export async function openManagement(
  options: ManagementOptions,
  io: Io,
): Promise<ManagementClient> {
  const { issuer, clientId, signer } = chooseKey(options);
  const { http, clock, signal } = io;
  const metadata = await withHint(discover(http, issuer, signal));
  const obtain = async () => {
    const now = clock.now();
    const { accessToken } = await withHint(
      requestToken({
        ...{ http, metadata, issuer, clientId, signer, signal, now },
        // Without a scope it is all that this operator has, which need not be everything.
        resource: managementResource(issuer),
      }),
    );
    return { accessToken, obtainedAt: now };
  };
  let token = await obtain();

  const sendOnce = async (
    method: HttpRequest['method'],
    path: string,
    { body, version, timeoutMs }: SendOptions,
  ): Promise<HttpResponse> =>
    http.request({
      method,
      url: `${managementResource(issuer)}/v1${path}`,
      headers: {
        authorization: `Bearer ${token.accessToken}`,
        accept: 'application/json',
        ...(body && { 'content-type': 'application/json' }),
        ...(version !== undefined && { 'if-match': `"${version}"` }),
      },
      ...(body && { body: JSON.stringify(body) }),
      ...(timeoutMs !== undefined && { timeoutMs }),
      signal,
    });

  /** Waits when it is told to, and renews the token when it may have expired. */
  const sendPatiently = async (...request: Parameters<typeof sendOnce>): Promise<HttpResponse> => {
    for (let waits = 0; ; waits += 1) {
      const response = await sendOnce(...request);
      const { status, headers } = response;
      if (status === 401 && clock.now() - token.obtainedAt > FRESH_SECONDS) token = await obtain();
      else if (status === 429 && waits < MAX_WAITS) {
        const seconds = Math.min(Number(headers['retry-after']) || 1, MAX_WAIT_SECONDS);
        await clock.sleep(seconds * 1000, signal);
      } else return response;
    }
  };

  const send = async (
    method: HttpRequest['method'],
    path: string,
    options: SendOptions = {},
  ): Promise<string> => {
    const response = await sendPatiently(method, path, options);
    if (response.status === 503) throw new UnreachableError('the authority cannot serve now');
    if (response.status >= 400) {
      throw new RefusedError(parseAnswer(problemSchema, response.body));
    }
    return response.body;
  };

  async function* pages(path: string, query: Query = {}): AsyncGenerator<readonly Item[]> {
    let after: string | undefined;
    do {
      const asked = formatQuery({ ...query, limit: String(PAGE_LIMIT), after });
      const page = parseAnswer(pageSchema, await send('GET', `${path}${asked}`));
      yield page.items;
      after = page.next ?? undefined;
    } while (after !== undefined);
  }

  return {
    issuer,
    post: async (path, body = {}, options = {}) => {
      const answer = await send('POST', path, { body, ...options });
      return answer === '' ? {} : parseAnswer(itemSchema, answer);
    },
    get: async (path, query = {}) =>
      parseAnswer(itemSchema, await send('GET', `${path}${formatQuery(query)}`)),
    patch: async (path, body, version) =>
      parseAnswer(itemSchema, await send('PATCH', path, { body, version })),
    remove: async (path, query = {}) => {
      const body = await send('DELETE', `${path}${formatQuery(query)}`);
      return body === '' ? undefined : parseAnswer(itemSchema, body);
    },
    pages,
    list: async (path, query) => {
      const items: Item[] = [];
      for await (const page of pages(path, query)) items.push(...page);
      return items;
    },
  };
}
