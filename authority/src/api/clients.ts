/**
 * `/api/v1/clients`, and `/devices` and `/services`, which are the clients of that kind.
 *
 * Units   NumericDate; `token_ttl_seconds` in seconds.
 * Errors  problem details.
 * Source  DESIGN 4; RFC 7396 (labels in a patch).
 *
 * @module
 */
import { FormatError, parseClientId, parseLabel } from '@latchkey/shared';
import * as v from 'valibot';
import type { ClientPatch } from '../registry/lifecycle.js';
import type { Client, ClientKind, NewClient, Registry } from '../registry/registry.js';
import { clientAnswer, clientToJson, shownClient } from './client-json.js';
import {
  clientIdField,
  defined,
  labelField,
  labelsField,
  labelsPatchField,
  publicKeyField,
  roleNameField,
  rolesField,
  textField,
  tokenTtlField,
} from './fields.js';
import { found, ONCE, pageAnswer, pageEntries, pageOf, readId } from './noun.js';
import { type Operator, refuseSelf, requireUnlimited } from './operator.js';
import { type Route, type RouteRequest, route } from './route.js';

/** Labels that one list may be filtered by. */
const MAX_FILTER_LABELS = 8;

const kindField = v.picklist(['device', 'service']);
const newClientEntries = {
  client_id: clientIdField,
  public_key: v.optional(publicKeyField),
  roles: v.optional(rolesField, []),
  labels: v.optional(labelsField, {}),
  may_mint: v.optional(v.boolean(), false),
  token_ttl_seconds: v.optional(tokenTtlField),
  limited_to_label: v.optional(labelField),
};
const patchSchema = v.strictObject({
  roles: v.optional(rolesField),
  labels: v.optional(labelsPatchField),
  may_mint: v.optional(v.boolean()),
  token_ttl_seconds: v.optional(v.nullable(tokenTtlField)),
  limited_to_label: v.optional(v.nullable(labelField)),
});

const parseFilterLabel = (text: string) => {
  const at = text.indexOf('=');
  if (at < 1) throw new FormatError('label', 'must look like key=value');
  return parseLabel(text.slice(0, at), text.slice(at + 1));
};
const labelFilter = textField(parseFilterLabel, { examples: ['site=berlin'] });
const filterEntries = {
  ...pageEntries,
  label: v.optional(
    v.pipe(
      v.union([labelFilter, v.array(labelFilter)]),
      v.transform((value) => [value].flat()),
      v.maxLength(MAX_FILTER_LABELS, `must not be given more than ${MAX_FILTER_LABELS} times`),
    ),
    [],
  ),
  status: v.optional(v.picklist(['active', 'suspended', 'revoked'])),
  role: v.optional(roleNameField),
  id_prefix: v.optional(v.pipe(v.string(ONCE), v.maxLength(64))),
};

const ofOneKind = v.strictObject(filterEntries);
const ofAnyKind = v.strictObject({ ...filterEntries, kind: v.optional(kindField) });
type ListQuery = v.InferOutput<typeof ofOneKind> & { readonly kind?: ClientKind | undefined };

/** A path, and the kind of client that it is for. */
interface Collection {
  readonly path: string;
  readonly noun: string;
  readonly kind: ClientKind | undefined;
}

const COLLECTIONS: readonly Collection[] = [
  { path: '/clients', noun: 'client', kind: undefined },
  { path: '/devices', noun: 'device', kind: 'device' },
  { path: '/services', noun: 'service', kind: 'service' },
];

const READ = { scope: 'clients:read', concerns: 'clients' } as const;
const WRITE = { scope: 'clients:write', concerns: 'clients' } as const;

type CreateBody = v.InferOutput<v.StrictObjectSchema<typeof newClientEntries, undefined>>;

function toNewClient(body: CreateBody, kind: ClientKind): NewClient {
  const { client_id: id, public_key: key, roles, labels } = body;
  return {
    ...{ id, kind, key, roles, labels },
    mayMint: body.may_mint,
    tokenTtlSeconds: body.token_ttl_seconds,
    limitedToLabel: body.limited_to_label,
  };
}

const toPatch = (body: v.InferOutput<typeof patchSchema>): ClientPatch =>
  defined({
    roles: body.roles,
    labels: body.labels,
    mayMint: body.may_mint,
    tokenTtlSeconds: body.token_ttl_seconds,
    limitedToLabel: body.limited_to_label,
  });

/** The limit of an operator is given by those who have none. */
function checkLimit(operator: Operator, limit: unknown): void {
  if (limit !== undefined) requireUnlimited(operator, 'limited_to_label limits an operator');
}

function routesOf({ path, noun, kind }: Collection, registry: Registry): readonly Route[] {
  const idOf = ({ id }: Readonly<Record<string, string>>) =>
    readId((text) => parseClientId(text), id, noun);

  /** The client of the path, if the operator may see it and it is of the path's kind. */
  const find = async ({ params, operator }: RouteRequest<unknown, unknown>): Promise<Client> => {
    const client = found(await registry.client(idOf(params), operator.reach), noun);
    return found(kind === undefined || client.kind === kind ? client : undefined, noun);
  };

  const create = async (request: RouteRequest<CreateBody, unknown>, newKind: ClientKind) => {
    const { operator, body } = request;
    checkLimit(operator, body.limited_to_label);
    return clientAnswer(await registry.createClient(toNewClient(body, newKind), operator.reach));
  };

  const listQuery: v.GenericSchema<unknown, ListQuery> = kind === undefined ? ofAnyKind : ofOneKind;

  const creation = {
    method: 'POST',
    path,
    needs: WRITE,
    summary: `Register a ${noun}; without a key it waits for enrollment`,
    answer: shownClient,
    success: 201,
    change: { event: 'client.created', subject: 'clientId' },
  } as const;

  return [
    kind === undefined
      ? route({
          ...creation,
          body: v.strictObject({ kind: kindField, ...newClientEntries }),
          handle: (request) => create(request, request.body.kind),
        })
      : route({
          ...creation,
          body: v.strictObject(newClientEntries),
          handle: (request) => create(request, kind),
        }),
    route({
      method: 'GET',
      path,
      needs: READ,
      summary: `List ${noun}s, in the order of their ids`,
      query: listQuery,
      answer: pageOf(shownClient),
      success: 200,
      handle: async ({ query, operator }) => {
        const { limit, after, label, status, role, id_prefix: idPrefix } = query;
        const labels = operator.limit === undefined ? label : [operator.limit, ...label];
        const filter = { kind: kind ?? query.kind, status, role, labels, idPrefix };
        return pageAnswer(await registry.listClients(filter, { limit, after }), clientToJson);
      },
    }),
    route({
      method: 'GET',
      path: `${path}/:id`,
      needs: READ,
      summary: `Show a ${noun}`,
      answer: shownClient,
      success: 200,
      handle: async (request) => clientAnswer(await find(request)),
    }),
    route({
      method: 'PATCH',
      path: `${path}/:id`,
      needs: WRITE,
      summary: `Change roles, labels and limits of a ${noun}; labels are merged, null takes one away`,
      body: patchSchema,
      answer: shownClient,
      success: 200,
      isConditional: true,
      change: { event: 'client.updated', subject: 'clientId' },
      handle: async (request) => {
        const { operator, body, condition } = request;
        const { id } = await find(request);
        checkLimit(operator, body.limited_to_label);
        if (body.roles !== undefined || body.limited_to_label !== undefined) {
          refuseSelf(operator, id);
        }
        return clientAnswer(await registry.patchClient(id, toPatch(body), condition));
      },
    }),
    route({
      method: 'DELETE',
      path: `${path}/:id`,
      needs: WRITE,
      summary: `Delete a ${noun}; its id stays taken until it is freed`,
      success: 204,
      isConditional: true,
      change: { event: 'client.deleted', subject: 'clientId' },
      handle: async (request) => {
        const { id } = await find(request);
        refuseSelf(request.operator, id);
        await registry.deleteClient(id, request.condition);
        return { target: id };
      },
    }),
  ];
}

export function clientRoutes({ registry }: { readonly registry: Registry }): readonly Route[] {
  return COLLECTIONS.flatMap((collection) => routesOf(collection, registry));
}
