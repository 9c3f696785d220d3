/**
 * Machine clients as other providers export them: what of each can be carried over, and what cannot.
 *
 *     auth0    the array of GET /api/v2/clients, or { clients, clientGrants } as the deploy tool writes it
 *     stytch   { m2m_clients } as the search of M2M clients answers
 *     logto    the array of GET /api/applications; `secrets` and `roles` of each are read if they are put in
 *
 * Units   none.
 * Errors  `UsageError` for a file that is not such an export.
 * Source  https://auth0.com/docs/api/management/v2/clients/get-clients,
 *         https://stytch.com/docs/b2b/api/search-m2m-clients,
 *         https://openapi.logto.io/operation/operation-listapplications
 *
 * @module
 */
import { UsageError } from '@latchkey/shared';
import * as v from 'valibot';

export const PROVIDERS = ['auth0', 'stytch', 'logto'] as const;
export type Provider = (typeof PROVIDERS)[number];

/** Something of a client that stays behind. */
export interface Loss {
  readonly clientId: string;
  readonly what: string;
  readonly why: string;
}

/** A client of a provider, in the terms of all of them. */
export interface ProviderClient {
  readonly clientId: string;
  readonly name: string | undefined;
  /** Scopes and roles that it has there, which become roles here. */
  readonly scopes: readonly string[];
  readonly secret: string | undefined;
  readonly isSuspended: boolean;
  readonly losses: readonly Omit<Loss, 'clientId'>[];
}

export interface ProviderExport {
  readonly clients: readonly ProviderClient[];
  /** Of clients that are not carried at all. */
  readonly left: readonly Loss[];
}

const text = v.optional(v.nullable(v.string()));
const texts = v.optional(v.nullable(v.array(v.string())), []);
const anything = v.optional(v.unknown());

const auth0Client = v.object({
  client_id: v.string(),
  name: text,
  global: v.optional(v.boolean(), false),
  app_type: text,
  grant_types: texts,
  client_secret: text,
  client_metadata: anything,
  client_authentication_methods: anything,
});
const auth0Grant = v.object({ client_id: v.string(), scope: texts });
const auth0Schema = v.union([
  v.pipe(
    v.array(auth0Client),
    v.transform((clients) => ({ clients, clientGrants: [] as v.InferOutput<typeof auth0Grant>[] })),
  ),
  v.object({ clients: v.array(auth0Client), clientGrants: v.optional(v.array(auth0Grant), []) }),
]);

const stytchSchema = v.object({
  m2m_clients: v.array(
    v.object({
      client_id: v.string(),
      client_name: text,
      status: text,
      scopes: texts,
      trusted_metadata: anything,
    }),
  ),
});

const logtoSchema = v.array(
  v.object({
    id: v.string(),
    name: text,
    type: v.string(),
    secret: text,
    customData: anything,
    secrets: v.optional(
      v.array(v.object({ value: v.string(), expiresAt: v.optional(v.unknown()) })),
      [],
    ),
    roles: v.optional(v.array(v.object({ name: v.string() })), []),
  }),
);

function parseExport<Schema extends v.GenericSchema>(
  schema: Schema,
  value: unknown,
  provider: Provider,
): v.InferOutput<Schema> {
  const result = v.safeParse(schema, value);
  if (result.success) return result.output;
  const where = v.getDotPath(result.issues[0]);
  throw new UsageError(
    `the file is not an export of ${provider}${where === null ? '' : `: ${where} is not as expected`}`,
  );
}

const isEmpty = (value: unknown): boolean =>
  value === undefined || value === null || Object.keys(Object(value)).length === 0;

const metadataLoss = (value: unknown, what: string) =>
  isEmpty(value)
    ? []
    : [{ what, why: 'there is no place for it but labels: latchkey service update --label' }];

const NOT_A_MACHINE = 'is no machine-to-machine client: people sign in with it';
const SECRET_NEEDED = 'let it have a new one: latchkey secret create';

function readAuth0(value: unknown): ProviderExport {
  const { clients, clientGrants } = parseExport(auth0Schema, value, 'auth0');
  const isMachine = (client: v.InferOutput<typeof auth0Client>) =>
    !client.global && (client.grant_types ?? []).includes('client_credentials');
  const scopesOf = (client: v.InferOutput<typeof auth0Client>) =>
    clientGrants
      // The deploy tool names a client in a grant by its name.
      .filter(({ client_id }) => [client.client_id, client.name].includes(client_id))
      .flatMap(({ scope }) => scope ?? []);
  return {
    clients: clients.filter(isMachine).map((client) => ({
      clientId: client.client_id,
      name: client.name ?? undefined,
      scopes: scopesOf(client),
      secret: client.client_secret ?? undefined,
      isSuspended: false,
      losses: [
        ...(client.client_secret
          ? []
          : [{ what: 'secret', why: `is not in the export; ${SECRET_NEEDED}` }]),
        ...(isEmpty(client.client_authentication_methods)
          ? []
          : [{ what: 'keys', why: 'are not Ed25519: latchkey key add' }]),
        ...metadataLoss(client.client_metadata, 'client_metadata'),
      ],
    })),
    left: clients
      .filter((client) => !isMachine(client))
      .map(({ client_id: clientId, app_type }) => ({
        ...{ clientId, what: 'client', why: `${NOT_A_MACHINE} (${app_type ?? 'no type'})` },
      })),
  };
}

function readStytch(value: unknown): ProviderExport {
  const { m2m_clients: clients } = parseExport(stytchSchema, value, 'stytch');
  return {
    clients: clients.map((client) => ({
      clientId: client.client_id,
      name: client.client_name ?? undefined,
      scopes: client.scopes ?? [],
      secret: undefined,
      isSuspended: client.status !== 'active',
      losses: [
        {
          what: 'secret',
          why: `of it the export holds the last four characters; ${SECRET_NEEDED}`,
        },
        ...metadataLoss(client.trusted_metadata, 'trusted_metadata'),
      ],
    })),
    left: [],
  };
}

function readLogto(value: unknown): ProviderExport {
  const applications = parseExport(logtoSchema, value, 'logto');
  const isMachine = ({ type }: { readonly type: string }) => type === 'MachineToMachine';
  return {
    clients: applications
      .filter(isMachine)
      .map(({ id, name, secret, secrets, roles, customData }) => {
        const [first, ...others] = secrets.map((one) => one.value);
        const carried = first ?? secret ?? undefined;
        return {
          clientId: id,
          name: name ?? undefined,
          scopes: roles.map((role) => role.name),
          secret: carried,
          isSuspended: false,
          losses: [
            ...(carried ? [] : [{ what: 'secret', why: `is not in the export; ${SECRET_NEEDED}` }]),
            ...(others.length > 0
              ? [{ what: `${others.length} more secrets`, why: 'the first is carried alone' }]
              : []),
            ...metadataLoss(customData, 'customData'),
          ],
        };
      }),
    left: applications
      .filter((application) => !isMachine(application))
      .map(({ id, type }) => ({ clientId: id, what: 'client', why: `${NOT_A_MACHINE} (${type})` })),
  };
}

const READERS: Readonly<Record<Provider, (value: unknown) => ProviderExport>> = {
  auth0: readAuth0,
  stytch: readStytch,
  logto: readLogto,
};

/** Reads an export; `json` is the text of the file. */
export function readProviderExport(provider: Provider, json: string): ProviderExport {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    throw new UsageError('the file is not JSON');
  }
  return READERS[provider](value);
}
