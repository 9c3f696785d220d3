import { createPrivateKey, generateKeyPairSync, verify } from 'node:crypto';
import {
  decodeCanonicalBase64url,
  exportPrivatePem,
  generateKey,
  importPrivatePem,
  importPublicJwk,
  importRawPublicKey,
  type Kid,
  type PublicJwk,
  restorePublicKey,
  thumbprint,
} from '@latchkey/shared';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import openssl from '../vectors/openssl-3.0-ed25519.json' with { type: 'json' };
import thumbprintVector from '../vectors/rfc7638-3-rfc8037-a.3-thumbprint.json' with {
  type: 'json',
};
import weak from '../vectors/rfc8032-5.1.3-weak-public-keys.json' with { type: 'json' };
import ed25519 from '../vectors/rfc8032-7.1-ed25519.json' with { type: 'json' };

const bytes = (hex: string) => Buffer.from(hex, 'hex');
const jwkOf = (hex: string): PublicJwk => ({
  kty: 'OKP',
  crv: 'Ed25519',
  x: bytes(hex).toString('base64url'),
});
const refused = (field = 'public key') => expect.objectContaining({ name: 'FormatError', field });
const GOOD = ed25519[0]!.publicKey;

describe('RFC 8032 7.1', () => {
  test.each(ed25519)(
    '$name: the public key verifies the signature',
    ({ publicKey, message, signature }) => {
      const { keyObject, jwk } = importRawPublicKey(bytes(publicKey));
      expect(Buffer.from(jwk.x, 'base64url').toString('hex')).toBe(publicKey);
      expect(verify(null, bytes(message), keyObject, bytes(signature))).toBe(true);
      expect(verify(null, bytes(`${message}00`), keyObject, bytes(signature))).toBe(false);
    },
  );

  test.each(ed25519)('$name: the seed gives the public key', ({ seed, publicKey }) => {
    const der = Buffer.concat([bytes('302e020100300506032b657004220420'), bytes(seed)]);
    const pem = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
      .export({ type: 'pkcs8', format: 'pem' })
      .toString();
    expect(importPrivatePem(pem).publicKey.jwk).toEqual(jwkOf(publicKey));
  });
});

describe('thumbprints', () => {
  test('RFC 8037 A.3 by the rules of RFC 7638 3', () => {
    expect(thumbprint(thumbprintVector.jwk as PublicJwk)).toBe(thumbprintVector.thumbprint);
    expect(importPublicJwk(thumbprintVector.jwk).kid).toBe(thumbprintVector.thumbprint);
    expect(Buffer.from(thumbprintVector.thumbprint, 'base64url').toString('hex')).toBe(
      thumbprintVector.sha256Hex,
    );
  });

  test('members in another order and members that do not count change nothing', () => {
    const { x, crv, kty } = thumbprintVector.jwk;
    const other = { use: 'sig', x, alg: 'EdDSA', kid: 'mine', crv, kty };
    expect(importPublicJwk(other).kid).toBe(thumbprintVector.thumbprint);
    expect(thumbprint(other as unknown as PublicJwk)).toBe(thumbprintVector.thumbprint);
  });

  test('a key made by OpenSSL has the thumbprint that OpenSSL computes', () => {
    expect(importPublicJwk(openssl.jwk).kid).toBe(openssl.thumbprint);
  });
});

describe('weak public keys (STANDARDS 3.9)', () => {
  const lists = Object.entries(weak).flatMap(([list, keys]) => keys.map((hex) => ({ list, hex })));

  test('the list has every kind', () => {
    expect(weak.lowOrder).toHaveLength(10);
    expect(weak.nonCanonical).toHaveLength(38);
    expect(weak.mixedOrder).toHaveLength(7);
    expect(new Set(lists.map(({ hex }) => hex)).size).toBe(55);
  });

  test.each(lists)('refused: $list $hex', ({ hex }) => {
    expect(() => importRawPublicKey(bytes(hex))).toThrow(refused());
    expect(() => importPublicJwk(jwkOf(hex))).toThrow(refused());
  });

  // Why the check is ours: with the identity as key, one signature fits every message.
  test('Node itself accepts the identity point and a signature that fits everything', () => {
    const { keyObject } = restorePublicKey(jwkOf(weak.lowOrder[0]!));
    const signature = Buffer.concat([bytes(weak.lowOrder[0]!), Buffer.alloc(32)]);
    expect(verify(null, Buffer.from('one'), keyObject, signature)).toBe(true);
    expect(verify(null, Buffer.from('another'), keyObject, signature)).toBe(true);
  });

  test('a y that is on no point of the curve is refused', () => {
    expect(() => importRawPublicKey(bytes(`02${'00'.repeat(31)}`))).toThrow(refused());
  });
});

describe('importPublicJwk', () => {
  const good = jwkOf(GOOD);
  const x = good.x;
  test.each([
    { name: 'with alg EdDSA', jwk: { ...good, alg: 'EdDSA' } },
    { name: 'with alg Ed25519', jwk: { ...good, alg: 'Ed25519' } },
    { name: 'with use sig', jwk: { ...good, use: 'sig' } },
    { name: 'with a kid of its own, which is not used', jwk: { ...good, kid: '../x' } },
  ])('accepts a key $name', ({ jwk }) => {
    expect(importPublicJwk(jwk).jwk).toEqual(good);
  });

  test.each([
    { name: 'a private key', jwk: { ...good, d: 'nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A' } },
    { name: 'an empty d', jwk: { ...good, d: '' } },
    { name: 'an undefined d', jwk: { ...good, d: undefined } },
    { name: 'X25519', jwk: { ...good, crv: 'X25519' } },
    { name: 'Ed448', jwk: { ...good, crv: 'Ed448' } },
    { name: 'ed25519 in lower case', jwk: { ...good, crv: 'ed25519' } },
    { name: 'EC', jwk: { kty: 'EC', crv: 'P-256', x, y: x } },
    { name: 'RSA', jwk: { kty: 'RSA', n: x, e: 'AQAB' } },
    { name: 'a symmetric key', jwk: { kty: 'oct', k: x } },
    { name: 'no kty', jwk: { crv: 'Ed25519', x } },
    { name: 'no x', jwk: { kty: 'OKP', crv: 'Ed25519' } },
    { name: 'x as number', jwk: { ...good, x: 7 } },
    { name: 'x as array', jwk: { ...good, x: [x] } },
    { name: '31 bytes', jwk: jwkOf(GOOD.slice(2)) },
    { name: '33 bytes', jwk: jwkOf(`${GOOD}00`) },
    { name: 'no bytes', jwk: { ...good, x: '' } },
    { name: 'padding', jwk: { ...good, x: `${x}=` } },
    { name: 'a blank', jwk: { ...good, x: `${x} ` } },
    {
      name: 'spare bits set',
      jwk: { ...good, x: x.slice(0, -1) + String.fromCharCode(x.charCodeAt(42) + 1) },
    },
    { name: 'base64 characters', jwk: jwkWithBase64() },
    { name: 'alg ES256', jwk: { ...good, alg: 'ES256' } },
    { name: 'alg eddsa', jwk: { ...good, alg: 'eddsa' } },
    { name: 'use enc', jwk: { ...good, use: 'enc' } },
    { name: 'members in __proto__', jwk: JSON.parse(`{"__proto__":${JSON.stringify(good)}}`) },
    { name: 'inherited members', jwk: Object.create(good) },
    { name: 'null', jwk: null },
    { name: 'undefined', jwk: undefined },
    { name: 'a string', jwk: JSON.stringify(good) },
    { name: 'an array', jwk: [good] },
  ])('refuses $name', ({ jwk }) => {
    expect(() => importPublicJwk(jwk, 'key')).toThrow(refused('key'));
    expect(() => restorePublicKey(jwk as PublicJwk)).toThrow(refused());
  });

  test('a restored key is the imported one; a kid that was kept with it is not computed again', () => {
    const { jwk, kid } = generateKey().publicKey;
    expect(restorePublicKey(jwk)).toEqual(importPublicJwk(jwk));
    expect(restorePublicKey(jwk, kid)).toEqual(importPublicJwk(jwk));
    expect(restorePublicKey(jwk, 'kept' as Kid).kid).toBe('kept');
  });

  test('never echoes what it was given', () => {
    const d = 'nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A';
    expect(() => importPublicJwk({ ...good, d })).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining(d) }),
    );
  });

  function jwkWithBase64(): object {
    const { jwk } = keyWhose((key) => /[-_]/.test(key.jwk.x));
    return { ...jwk, x: jwk.x.replaceAll('-', '+').replaceAll('_', '/') };
  }
});

function keyWhose(is: (key: { jwk: PublicJwk }) => boolean): { jwk: PublicJwk } {
  for (;;) {
    const { publicKey } = generateKey();
    if (is(publicKey)) return publicKey;
  }
}

describe('importRawPublicKey', () => {
  test.each([0, 31, 33, 64])('refuses %i bytes', (length) => {
    expect(() => importRawPublicKey(new Uint8Array(length))).toThrow(refused());
  });

  test('gives a key that cannot be changed', () => {
    const key = importRawPublicKey(bytes(GOOD));
    expect(Object.isFrozen(key) && Object.isFrozen(key.jwk)).toBe(true);
  });
});

describe('private keys', () => {
  test('a generated key comes back from PEM', () => {
    const key = generateKey();
    const again = importPrivatePem(exportPrivatePem(key));
    expect(again.publicKey.jwk).toEqual(key.publicKey.jwk);
    expect(importPublicJwk(key.publicKey.jwk).kid).toBe(key.publicKey.kid);
  });

  test('hundreds of keys are made without the deadlock of Node 20', () => {
    const kids = Array.from({ length: 600 }, () => generateKey().publicKey.kid);
    expect(new Set(kids).size).toBe(600);
  });

  const der = { publicKeyEncoding: { type: 'spki', format: 'pem' } } as const;
  const pemOf = (encoding: object) =>
    generateKeyPairSync('ed25519', {
      ...der,
      privateKeyEncoding: { type: 'pkcs8', format: 'pem', ...encoding },
    }).privateKey;
  test.each([
    { name: 'nothing', pem: '' },
    { name: 'no PEM', pem: 'hunter2' },
    { name: 'a public key', pem: openssl.pem },
    { name: 'an encrypted key', pem: pemOf({ cipher: 'aes-256-cbc', passphrase: 'hunter2' }) },
    { name: 'a cut key', pem: pemOf({}).replace(/\n.{20}/, '\n') },
    {
      name: 'an X25519 key',
      pem: generateKeyPairSync('x25519', {
        ...der,
        privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
      }).privateKey,
    },
    {
      name: 'a P-256 key',
      pem: generateKeyPairSync('ec', {
        namedCurve: 'P-256',
        ...der,
        privateKeyEncoding: { type: 'sec1', format: 'pem' },
      }).privateKey,
    },
  ])('refused and not echoed: $name', ({ pem }) => {
    expect(() => importPrivatePem(pem)).toThrow(
      expect.objectContaining({
        name: 'FormatError',
        field: 'private key',
        message: expect.not.stringMatching(/hunter2|BEGIN/),
      }),
    );
  });

  test('inspecting a key shows no secret', async () => {
    const { inspect } = await import('node:util');
    const key = generateKey();
    const secret = exportPrivatePem(key).split('\n')[1] as string;
    const d = key.keyObject.export({ format: 'der', type: 'pkcs8' }).subarray(-32);
    const shown = inspect(key, { depth: 9 }) + JSON.stringify(key);
    for (const text of [secret, d.toString('base64url'), d.toString('hex')]) {
      expect(shown).not.toContain(text);
    }
  });
});

test('canonical base64url: exactly the texts that re-encode to themselves', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 70 }), (raw) => {
      const text = Buffer.from(raw).toString('base64url');
      expect(decodeCanonicalBase64url(text)).toEqual(Buffer.from(raw));
      expect(decodeCanonicalBase64url(`${text}=`)).toBeUndefined();
      expect(decodeCanonicalBase64url(` ${text}`)).toBeUndefined();
    }),
  );
});
