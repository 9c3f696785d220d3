/**
 * Operators of the management API with some scopes, limited to a label or not.
 *
 * @module
 */
import { managementResource } from '@latchkey/authority';
import { generateKey, parseClientId, parsePermissionName, parseRoleName } from '@latchkey/shared';
import { type Answer, createTestDevice, type TestAuthority } from './test-authority.ts';

export type Method = 'GET' | 'POST' | 'PATCH' | 'DELETE';

export interface TestOperator {
  readonly clientId: string;
  token(): Promise<string>;
  call(
    method: Method,
    path: string,
    body?: object,
    headers?: Readonly<Record<string, string>>,
  ): Promise<Answer>;
}

/** Calls the management API with a token. */
export async function callApi(
  { authority, issuer }: Pick<TestAuthority, 'authority' | 'issuer'>,
  token: string | undefined,
  [method, path, body, headers = {}]: Parameters<TestOperator['call']>,
): Promise<Answer> {
  const base = new URL(issuer).pathname.replace(/\/$/, '');
  const response = await authority.app.inject({
    method,
    url: `${base}/api/v1${path}`,
    headers: {
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body !== undefined && { payload: JSON.stringify(body) }),
  });
  return {
    status: response.statusCode,
    headers: response.headers,
    body: response.body === '' ? '' : JSON.parse(response.body),
  };
}

/** The operator that `init` made. */
export function chiefOperator(authority: TestAuthority): TestOperator {
  return {
    clientId: 'operator',
    token: authority.operatorToken,
    call: async (...call) => callApi(authority, await authority.operatorToken(), call),
  };
}

/** A new operator with its own role of these scopes. */
export async function addOperator(
  authority: TestAuthority,
  name: string,
  options: { readonly scopes: readonly string[]; readonly site?: string },
): Promise<TestOperator> {
  const { registry, issuer } = authority;
  const { scopes, site } = options;
  const role = parseRoleName(`role-${name}`);
  await registry.createRole({ name: role, permissions: scopes.map((s) => parsePermissionName(s)) });
  const key = generateKey();
  await registry.createClient({
    id: parseClientId(name),
    kind: 'service',
    roles: [role],
    labels: new Map(site === undefined ? [] : [['site', site]]),
    key: key.publicKey,
    limitedToLabel: site === undefined ? undefined : { key: 'site', value: site },
  });
  const device = createTestDevice(authority, name, key);
  const token = async () => {
    const more = { resource: managementResource(issuer) };
    const { status, body } = await authority.token(await device.assertion(), more);
    if (status !== 200) throw new Error(JSON.stringify(body));
    return (body as { access_token: string }).access_token;
  };
  return {
    clientId: name,
    token,
    call: async (...call) => callApi(authority, await token(), call),
  };
}
