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
  parseIssuer,
  requestToken,
  UnreachableError,
  UsageError,
} from '@latchkey/shared';
import * as v from 'valibot';
import { dataDirPaths } from '../data-dir.js';
import { MANAGEMENT_SCOPE, managementResource } from '../management.js';
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

export interface ManagementClient {
  create(path: string, body: Item): Promise<Item>;
  show(path: string, id: string): Promise<Item>;
  /** All items, page by page. */
  list(path: string): Promise<readonly Item[]>;
}

const PAGE_LIMIT = 500;

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

export async function openManagement(
  options: ManagementOptions,
  io: Io,
): Promise<ManagementClient> {
  const { issuer, clientId, signer } = chooseKey(options);
  const { http, clock, signal } = io;
  const metadata = await withHint(discover(http, issuer, signal));
  const { accessToken } = await withHint(
    requestToken({
      ...{ http, metadata, issuer, clientId, signer, signal, now: clock.now() },
      resource: managementResource(issuer),
      scope: MANAGEMENT_SCOPE,
    }),
  );

  const send = async (method: HttpRequest['method'], path: string, body?: Item) => {
    const response = await http.request({
      method,
      url: `${managementResource(issuer)}/v1${path}`,
      headers: {
        authorization: `Bearer ${accessToken}`,
        accept: 'application/json',
        ...(body && { 'content-type': 'application/json' }),
      },
      ...(body && { body: JSON.stringify(body) }),
      signal,
    });
    if (response.status === 503) throw new UnreachableError('the authority cannot serve now');
    if (response.status >= 400) {
      throw new RefusedError(parseAnswer(problemSchema, response.body));
    }
    return response.body;
  };

  const list = async (path: string): Promise<readonly Item[]> => {
    const items: Item[] = [];
    let after: string | null = '';
    while (after !== null) {
      const query: string = after === '' ? '' : `&after=${encodeURIComponent(after)}`;
      const body = await send('GET', `${path}?limit=${PAGE_LIMIT}${query}`);
      const page = parseAnswer(pageSchema, body);
      items.push(...page.items);
      after = page.next;
    }
    return items;
  };

  return {
    create: async (path, body) => parseAnswer(itemSchema, await send('POST', path, body)),
    show: async (path, id) =>
      parseAnswer(itemSchema, await send('GET', `${path}/${encodeURIComponent(id)}`)),
    list,
  };
}
