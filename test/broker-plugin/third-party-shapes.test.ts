/** The examples of the README accept what Keycloak, Auth0 and Logto issue, and none of their other tokens. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ThirdPartyIssuerOptions } from '@latchkey/broker-plugin';
import type { VerifyingAlgorithm } from '@latchkey/shared';
import { expect, test } from 'vitest';
import { parseBrokerConfig } from '../../broker-plugin/src/broker/config.ts';
import { type GuardedBroker, startGuardedBroker } from '../helpers/guarded-broker.ts';
import { BROKER } from '../helpers/issuer-server.ts';
import { ROOT } from '../helpers/processes.ts';
import { startThirdParty, type ThirdPartyServer } from '../helpers/third-party.ts';

const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
const [, section = ''] = readme.split('\n## Tokens of another authorization server\n');
const examples = [...(section.split('\n## ')[0] as string).matchAll(/```toml\n(.*?)```/gs)].map(
  ([, text = '']) => text,
);

/** The claims that a server adds or leaves out, beside those that all tokens have. */
interface Shape {
  readonly name: string;
  readonly path: string;
  readonly alg: VerifyingAlgorithm;
  readonly typ: string;
  readonly claims: Readonly<Record<string, unknown>>;
}
const NONE = { client_id: undefined, scope: undefined, jti: undefined };

const KEYCLOAK: Shape = {
  ...{ name: 'keycloak', path: '/realms/factory', alg: 'RS256', typ: 'JWT' },
  claims: {
    ...NONE,
    jti: 'trrtcc:2f1c6c1e-5d0c-4a0e-8a52-0c6f3d1d2b11',
    aud: ['mqtt', 'account'],
    sub: 'b2f1c6c1-5d0c-4a0e-8a52-0c6f3d1d2b11',
    typ: 'Bearer',
    azp: 't-42',
    acr: '1',
    realm_access: { roles: ['default-roles-factory', 'telemetry', 'offline_access'] },
    resource_access: { account: { roles: ['view-profile'] } },
    scope: 'email profile',
    clientHost: '192.0.2.1',
    email_verified: false,
    preferred_username: 'service-account-t-42',
    client_id: 't-42',
  },
};
const AUTH0: Shape = {
  ...{ name: 'auth0', path: '/', alg: 'RS256', typ: 'JWT' },
  claims: {
    ...NONE,
    sub: 't-42@clients',
    aud: 'https://mqtt.example',
    scope: 'write:telemetry',
    gty: 'client-credentials',
    azp: 't-42',
    permissions: ['write:telemetry'],
  },
};
const LOGTO: Shape = {
  ...{ name: 'logto', path: '/oidc', alg: 'ES384', typ: 'at+jwt' },
  claims: { ...NONE, jti: 'Yb3x1', client_id: 't-42', scope: 'write:telemetry', aud: BROKER },
};

interface Setup extends GuardedBroker {
  readonly server: ThirdPartyServer;
}

async function setup(shape: Shape): Promise<Setup> {
  const server = await startThirdParty({ now: () => broker.clock.now() }, { path: shape.path });
  const source = examples.find((text) => text.includes(`name = "${shape.name}"`)) ?? '';
  const file = `audience = "${BROKER}"\n[[listen]]\ntype = "tcp"\nport = 0\n${source}`;
  const [entry] = parseBrokerConfig(file, 'README.md').thirdPartyIssuers;
  const { caFile: _none, ...options } = entry as ThirdPartyIssuerOptions & { caFile?: string };
  // As written, but for the address.
  expect(new URL(options.issuer).pathname).toBe(shape.path);
  const broker: GuardedBroker = await startGuardedBroker({
    options: { thirdPartyIssuers: [{ ...options, issuer: server.issuer }] },
  });
  return Object.assign(broker, { server });
}

const tokenOf = ({ server }: Setup, shape: Shape, changes: object = {}, header: object = {}) =>
  server.token({
    ...{ alg: shape.alg, header: { typ: shape.typ, ...header } },
    claims: { ...shape.claims, ...changes },
  });

test('the section has one example for each', () => {
  expect(examples).toHaveLength(3);
});

test.each([KEYCLOAK, AUTH0, LOGTO])(
  '$name: its access token connects and may publish',
  async (shape) => {
    const broker = await setup(shape);
    const token = tokenOf(broker, shape);
    const id = `${shape.name}:t-42`;
    const { connack } = await broker.connect(token, { clientId: id, username: id });
    expect(connack).toMatchObject({ returnCode: 0 });
    const publish = (topic: string) =>
      broker.latchkey.explain({ token, action: 'publish', topic: `devices/${topic}` });
    expect(await publish(`${id}/telemetry/x`)).toMatchObject({ allowed: true, clientId: id });
    expect(await publish('t-42/telemetry/x')).toMatchObject({ allowed: false, reason: 'no-scope' });
  },
);

test.each<{ name: string; shape: Shape; claims?: object; header?: object; reason: string }>([
  {
    name: 'Keycloak: an ID token',
    shape: KEYCLOAK,
    claims: { typ: 'ID' },
    reason: 'invalid_token',
  },
  {
    name: 'Keycloak: a refresh token',
    shape: KEYCLOAK,
    claims: { typ: 'Refresh', aud: 'https://keycloak.example/realms/factory' },
    reason: 'invalid_token',
  },
  {
    name: 'Keycloak: an access token for the account console alone',
    shape: KEYCLOAK,
    claims: { aud: 'account' },
    reason: 'insufficient_scope',
  },
  {
    name: 'Auth0: an ID token',
    shape: AUTH0,
    claims: { aud: 't-42', gty: undefined, nonce: 'x' },
    reason: 'invalid_token',
  },
  {
    name: 'Auth0: a token that a person obtained',
    shape: AUTH0,
    claims: { gty: 'password', sub: 'auth0|6553da60' },
    reason: 'invalid_token',
  },
  {
    name: 'Auth0: the identity of a person as client id',
    shape: AUTH0,
    claims: { azp: 'auth0|6553da60' },
    reason: 'invalid_token',
  },
  {
    name: 'Auth0: a token for its own user info',
    shape: AUTH0,
    claims: { aud: 'https://tenant.eu.auth0.com/userinfo' },
    reason: 'insufficient_scope',
  },
  { name: 'Logto: an ID token', shape: LOGTO, header: { typ: 'JWT' }, reason: 'invalid_token' },
  {
    name: 'Logto: a token for its management API',
    shape: LOGTO,
    claims: { aud: 'https://tenant.logto.app/api', scope: 'all' },
    reason: 'insufficient_scope',
  },
])('$name is refused', async ({ shape, claims, header, reason }) => {
  const broker = await setup(shape);
  const token = tokenOf(broker, shape, claims, header);
  const topic = `devices/${shape.name}:t-42/telemetry/x`;
  const answer = await broker.latchkey.explain({ token, action: 'publish', topic });
  expect(answer).toMatchObject({ allowed: false, reason });
  expect(answer).not.toHaveProperty('clientId');
});

test.each([
  { shape: KEYCLOAK, claims: { realm_access: { roles: ['offline_access'] } } },
  { shape: AUTH0, claims: { permissions: [] } },
  { shape: LOGTO, claims: { scope: '' } },
])('$shape.name: without the role or permission it may connect and nothing else', async (row) => {
  const broker = await setup(row.shape);
  const token = tokenOf(broker, row.shape, row.claims);
  const topic = `devices/${row.shape.name}:t-42/telemetry/x`;
  expect(await broker.latchkey.explain({ token, action: 'publish', topic })).toMatchObject({
    ...{ allowed: false, reason: 'no-scope', clientId: `${row.shape.name}:t-42` },
  });
});
