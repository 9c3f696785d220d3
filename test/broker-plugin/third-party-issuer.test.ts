/** What an operator may say about a third party: I7, I11; STANDARDS 6, group 10. */
import { createLatchkey, type ThirdPartyIssuerOptions } from '@latchkey/broker-plugin';
import { FormatError } from '@latchkey/shared';
import { expect, test } from 'vitest';
import { parseClaimPath, readClaim } from '../../broker-plugin/src/trust/claim-path.ts';
import { parseThirdParties } from '../../broker-plugin/src/trust/third-parties.ts';

const GOOD: ThirdPartyIssuerOptions = {
  name: 'keycloak',
  issuer: 'https://keycloak.example/realms/a',
  algorithms: ['RS256'],
};
const OWN = { issuer: 'https://id.example' as never, audience: 'mqtts://broker.example' };
const parse = (...entries: object[]) =>
  parseThirdParties(
    entries.map((changes) => ({ ...GOOD, ...changes })),
    OWN,
  );
const aliases = (...scopes: string[]) => ({ scopeAliases: { telemetry: scopes } });

test('what is left out has its default', () => {
  const { issuers } = parse({});
  expect(issuers[0]).toEqual({
    ...{ name: 'keycloak', issuer: 'https://keycloak.example/realms/a', jwksUri: undefined },
    ...{ ca: undefined, audience: 'mqtts://broker.example', algorithms: ['RS256'] },
    ...{ types: ['at+jwt'], scopeClaim: ['scope'], clientIdClaim: ['client_id'] },
    ...{ clientIdPrefix: 'keycloak:', scopeAliases: new Map(), acceptTopicScopes: false },
    ...{ requiredClaims: new Map(), maxLifetimeSeconds: 86_400 },
  });
});

test.each<{ name: string; changes: object }>([
  { name: 'an issuer with a slash at the end', changes: { issuer: 'https://tenant.auth0.com/' } },
  { name: 'an issuer on loopback', changes: { issuer: 'http://127.0.0.1:8080/realms/a' } },
  {
    name: 'all algorithms',
    changes: { algorithms: ['EdDSA', 'Ed25519', 'ES256', 'RS256', 'ES384', 'PS256'] },
  },
  { name: 'an audience that is no URI', changes: { audience: 'mqtt' } },
  { name: 'a name of 16 characters', changes: { name: 'a'.repeat(16) } },
  { name: 'a prefix with colons inside', changes: { clientIdPrefix: 'acme:eu:' } },
  { name: 'a prefix of 32 characters', changes: { clientIdPrefix: `${'a'.repeat(31)}:` } },
  { name: 'a claim of 255 characters', changes: { scopeClaim: 'a'.repeat(255) } },
  { name: 'a path of 8 names', changes: { scopeClaim: Array(8).fill('a') } },
  { name: '1,000 aliases', changes: { scopeAliases: numbered(1000) } },
  { name: '100 scopes of one alias', changes: aliases(...Array(100).fill('pub:a')) },
  { name: 'an alias that is a URL', changes: { scopeAliases: { 'https://x/y.z': ['pub:a'] } } },
  { name: '30 days', changes: { maxTokenLifetimeSeconds: 2_592_000 } },
])('accepted: $name', ({ changes }) => {
  expect(parse(changes).issuers).toHaveLength(1);
});

function numbered(count: number): Record<string, string[]> {
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [`alias-${i}`, ['pub:a']]));
}

test.each<{ name: string; changes: object; field: string }>([
  ...['', 'Keycloak', '1a', 'a:b', 'a b', 'a'.repeat(17), 'a/b', 'a\n'].map((name) => ({
    ...{ name: `the name ${JSON.stringify(name)}`, changes: { name }, field: 'name' },
  })),
  ...[
    'http://keycloak.example',
    'https://keycloak.example//',
    'https://keycloak.example/?x',
    'https://keycloak.example/#x',
    'https://user@keycloak.example',
    'HTTPS://keycloak.example',
    'keycloak.example',
    '',
    'https://id.example',
    'https://id.example/',
    'https://id.example/clients/t-42',
  ].map((issuer) => ({
    ...{ name: `the issuer ${JSON.stringify(issuer)}`, changes: { issuer }, field: 'issuer' },
  })),
  ...[
    'http://keycloak.example/keys',
    'file:///etc/keys',
    '/keys',
    'https://u:p@x/keys',
    'https://x/#y',
    '',
  ].map((jwksUri) => ({ name: `the key set ${jwksUri}`, changes: { jwksUri }, field: 'jwks_uri' })),
  ...['', 'a b', 'a'.repeat(256), 'ä'].map((audience) => ({
    ...{ name: `the audience ${audience}`, changes: { audience }, field: 'audience' },
  })),
  ...[[], ['none'], ['HS256'], ['RS512'], ['rs256'], ['RS256', 'none']].map((algorithms) => ({
    ...{ name: `algorithms ${algorithms}`, changes: { algorithms }, field: 'algorithms' },
  })),
  ...[[], ['jwt'], ['*'], ['id+jwt']].map((types) => ({
    ...{ name: `types ${types}`, changes: { types }, field: 'types' },
  })),
  ...[[], '', Array(9).fill('a'), ['a', ''], ['a', 1], 'a'.repeat(256)].map((scopeClaim) => ({
    ...{ name: `the claim ${scopeClaim}`, changes: { scopeClaim }, field: 'scope_claim' },
  })),
  { name: 'an empty client id claim', changes: { clientIdClaim: '' }, field: 'client_id_claim' },
  ...['', ':', 'keycloak', 'a/:', '+:', '$a:', `${'a'.repeat(32)}:`, '-a:'].map(
    (clientIdPrefix) => ({
      ...{ name: `the prefix ${JSON.stringify(clientIdPrefix)}`, changes: { clientIdPrefix } },
      field: 'client_id_prefix',
    }),
  ),
  { name: '10,000 aliases', changes: { scopeAliases: numbered(10_000) }, field: 'scope_aliases' },
  { name: '1,001 aliases', changes: { scopeAliases: numbered(1001) }, field: 'scope_aliases' },
  {
    name: '101 scopes of one alias',
    changes: aliases(...Array(101).fill('pub:a')),
    field: 'scope_aliases.telemetry',
  },
  { name: 'an empty alias', changes: { scopeAliases: { '': ['pub:a'] } }, field: 'scope_aliases' },
  {
    name: 'an alias that looks like a topic scope',
    changes: { scopeAliases: { 'pub:a': ['pub:b'] } },
    field: 'scope_aliases',
  },
  ...['telemetry', 'pub:a/#/b', 'pub:{labels.site}/#', 'pub:{sub}/#', 'pub;qos=3:a', 'own:a'].map(
    (scope) => ({
      ...{ name: `the scope ${scope}`, changes: aliases(scope), field: 'scope_aliases.telemetry' },
    }),
  ),
  ...[0, -1, 1.5, 2_592_001, Number.NaN].map((maxTokenLifetimeSeconds) => ({
    ...{ name: `a lifetime of ${maxTokenLifetimeSeconds} s`, changes: { maxTokenLifetimeSeconds } },
    field: 'max_token_lifetime_seconds',
  })),
  { name: 'a required number', changes: { requiredClaims: { a: 1 } }, field: 'required_claims' },
  {
    name: '17 required claims',
    changes: { requiredClaims: Object.fromEntries(Array.from({ length: 17 }, (_, i) => [i, ''])) },
    field: 'required_claims',
  },
])('refused: $name', ({ changes, field }) => {
  expect(() => parse(changes)).toThrow(
    expect.objectContaining({ name: 'FormatError', field: `third_party_issuer.0.${field}` }),
  );
});

test.each<{ name: string; second: object; field: string }>([
  { name: 'the same issuer', second: { name: 'b' }, field: 'third_party_issuer.1.issuer' },
  {
    name: 'the same issuer but for a slash',
    second: { name: 'b', issuer: 'https://keycloak.example/realms/a/' },
    field: 'third_party_issuer.1.issuer',
  },
  { name: 'the same name', second: { issuer: 'https://b' }, field: 'third_party_issuer.0.name' },
  {
    name: 'the same prefix',
    second: { name: 'b', issuer: 'https://b', clientIdPrefix: 'keycloak:' },
    field: 'third_party_issuer.0.client_id_prefix',
  },
])('two entries with $name are refused', ({ second, field }) => {
  expect(() => parse({}, second)).toThrow(expect.objectContaining({ name: 'FormatError', field }));
});

test('16 third parties are accepted, 17 are not', () => {
  const entries = (count: number) =>
    Array.from({ length: count }, (_, i) => ({ name: `a${i}`, issuer: `https://a${i}` }));
  expect(parse(...entries(16)).issuers).toHaveLength(16);
  expect(() => parse(...entries(17))).toThrow(FormatError);
});

test('somebody must be trusted', () => {
  expect(() => createLatchkey({ audience: 'mqtts://broker.example' })).toThrow(FormatError);
  expect(() =>
    createLatchkey({ audience: 'mqtts://broker.example', thirdPartyIssuers: [GOOD] }),
  ).not.toThrow();
});

test('a path goes through objects alone, and never to what an object inherits', () => {
  const claims = { a: { b: ['c'] }, list: [{ b: 1 }], text: 'abc', nothing: null };
  const read = (...path: string[]) => readClaim(claims, parseClaimPath(path, 'claim'));
  expect(read('a', 'b')).toEqual(['c']);
  expect(read('a')).toBe(claims.a);
  for (const path of [
    ['list', '0'],
    ['text', 'length'],
    ['nothing', 'x'],
    ['a', 'x', 'y'],
    ['toString'],
    ['__proto__'],
  ]) {
    expect(read(...path)).toBeUndefined();
  }
});
