/** Whose tokens an issuer names: DESIGN 3. */
import { mintingClientOf, mintingIssuer, parseClientId, parseIssuer } from '@latchkey/shared';
import { expect, test } from 'vitest';

const ISSUER = parseIssuer('https://id.example');

test.each(['t-42', 'a', 'x'.repeat(64), 'a:b.c_d'])(
  'the client %s is read back from its issuer',
  (id) => {
    const clientId = parseClientId(id);
    expect(mintingIssuer(ISSUER, clientId)).toBe(`https://id.example/clients/${id}`);
    expect(mintingClientOf(ISSUER, mintingIssuer(ISSUER, clientId))).toBe(id);
  },
);

test.each([
  { name: 'the authority itself', iss: ISSUER },
  { name: 'no client', iss: `${ISSUER}/clients/` },
  { name: 'more than a client', iss: `${ISSUER}/clients/t-42/x` },
  { name: 'what is no client id', iss: `${ISSUER}/clients/+` },
  { name: 'a client of another authority', iss: 'https://id.example.org/clients/t-42' },
  { name: 'a client with the authority in another case', iss: 'https://ID.example/clients/t-42' },
])('$name mints nothing', ({ iss }) => {
  expect(mintingClientOf(ISSUER, iss)).toBeUndefined();
});
