/** Client ids of several issuers: I7. */
import { FormatError } from '@latchkey/shared';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  type ClientNamespace,
  type ClientNamespaces,
  createClientNamespaces,
} from '../../broker-plugin/src/trust/client-namespaces.ts';

const spaces = (prefixes: readonly string[], hasOwnAuthority = true) =>
  createClientNamespaces(
    prefixes.map((clientIdPrefix, index) => ({ name: `issuer-${index}`, clientIdPrefix })),
    { hasOwnAuthority },
  );

test.each([
  { id: 'keycloak:t-42', holder: 'issuer-0' },
  { id: 'keycloak:keycloak:t-42', holder: 'issuer-0' },
  { id: 'auth0:keycloak:t-42', holder: 'issuer-1' },
  { id: 'keycloak', holder: undefined },
  { id: 'keycloak-t-42', holder: undefined },
  { id: 'Keycloak:t-42', holder: undefined },
  { id: 't-42', holder: undefined },
])('$id is of $holder', ({ id, holder }) => {
  expect(spaces(['keycloak:', 'auth0:']).holderOf(id)).toBe(holder);
});

test('without an own authority, the only third party may have every id', () => {
  expect(spaces([''], false).holderOf('t-42')).toBe('issuer-0');
});

test.each([
  { name: 'an empty prefix beside an own authority', prefixes: [''], own: true },
  { name: 'an empty prefix beside another third party', prefixes: ['', 'auth0:'], own: false },
  { name: 'two empty prefixes', prefixes: ['', ''], own: false },
  { name: 'a prefix twice', prefixes: ['a:', 'a:'], own: true },
  { name: 'a prefix within another', prefixes: ['a:', 'a:b:'], own: true },
  { name: 'a prefix around another', prefixes: ['a:b:', 'a:'], own: true },
])('$name is refused', ({ prefixes, own }) => {
  expect(() => spaces(prefixes, own)).toThrow(FormatError);
});

test('two third parties of one name are refused', () => {
  const twice: ClientNamespace[] = [
    { name: 'a', clientIdPrefix: 'a:' },
    { name: 'a', clientIdPrefix: 'b:' },
  ];
  expect(() => createClientNamespaces(twice, { hasOwnAuthority: true })).toThrow(FormatError);
});

test('I7: whatever the prefixes and the ids of their clients, no id is two issuers’', () => {
  const segment = fc.stringMatching(/^[ab:]{0,3}$/);
  fc.assert(
    fc.property(
      fc.array(segment, { maxLength: 4 }),
      fc.array(segment, { maxLength: 6 }),
      fc.boolean(),
      (prefixes, rawIds, hasOwnAuthority) => {
        let namespaces: ClientNamespaces;
        try {
          namespaces = spaces(prefixes, hasOwnAuthority);
        } catch {
          return;
        }
        const owners = new Map<string, string | undefined>();
        for (const [index, prefix] of prefixes.entries()) {
          for (const rawId of rawIds) {
            const id = prefix + rawId;
            const name = `issuer-${index}`;
            expect(owners.get(id) ?? name).toBe(name); // no other issuer makes the same id
            owners.set(id, name);
            expect(namespaces.holderOf(id)).toBe(name);
          }
        }
        // Ours are those that no third party can make.
        for (const rawId of rawIds) {
          const isTheirs = prefixes.some((prefix) => rawId.startsWith(prefix));
          expect(namespaces.holderOf(rawId) === undefined).toBe(!isTheirs);
        }
        if (hasOwnAuthority) expect(prefixes).not.toContain('');
      },
    ),
    { numRuns: 2000 },
  );
});
