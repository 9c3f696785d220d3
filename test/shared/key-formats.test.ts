import { generateKeyPairSync, verify } from 'node:crypto';
import {
  formatOpenSsh,
  formatOpenSshFingerprint,
  formatPem,
  generateKey,
  openSshBlob,
  parseOpenSshBlob,
  parsePublicKey,
} from '@latchkey/shared';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import openssh from '../vectors/openssh-9.2-ed25519.json' with { type: 'json' };
import openssl from '../vectors/openssl-3.0-ed25519.json' with { type: 'json' };
import weak from '../vectors/rfc8032-5.1.3-weak-public-keys.json' with { type: 'json' };

const refused = expect.objectContaining({ name: 'FormatError', field: 'public key' });
const hexOf = (x: string) => Buffer.from(x, 'base64url').toString('hex');
const blob = openssh.line.split(' ')[1] as string;

describe('keys made by other programs', () => {
  const raw = Buffer.from(openssl.hex, 'hex');
  test.each([
    { name: 'PEM', text: openssl.pem },
    { name: 'PEM without a final newline', text: openssl.pem.trim() },
    { name: 'PEM with CRLF', text: openssl.pem.replaceAll('\n', '\r\n') },
    { name: 'PEM between blank lines', text: `\n\n${openssl.pem}\n\n` },
    { name: 'JWK', text: JSON.stringify(openssl.jwk) },
    { name: 'JWK over several lines', text: JSON.stringify(openssl.jwk, null, 2) },
    { name: 'hex', text: openssl.hex },
    { name: 'hex in upper case', text: ` ${openssl.hex.toUpperCase()}\n` },
    { name: 'base64', text: raw.toString('base64') },
    { name: 'base64 without padding', text: raw.toString('base64').replace('=', '') },
    { name: 'base64url', text: raw.toString('base64url') },
  ])('OpenSSL, as $name', ({ text }) => {
    expect(parsePublicKey(text).kid).toBe(openssl.thumbprint);
  });

  test.each([
    { name: 'the line of the .pub file', text: openssh.line },
    { name: 'with a final newline', text: `${openssh.line}\n` },
    { name: 'without a comment', text: `ssh-ed25519 ${blob}` },
    { name: 'with tabs and blanks', text: `ssh-ed25519 \t ${blob}\tme at home ` },
  ])('OpenSSH, $name', ({ text }) => {
    expect(hexOf(parsePublicKey(text).jwk.x)).toBe(openssh.hex);
  });

  test('OpenSSH: its signature verifies, and its fingerprint is that of our line', () => {
    const key = parsePublicKey(openssh.line);
    const [data, signature] = [openssh.signedData, openssh.signature].map((h) =>
      Buffer.from(h, 'hex'),
    );
    expect(verify(null, data!, key.keyObject, signature!)).toBe(true);
    expect(formatOpenSshFingerprint(key)).toBe(openssh.fingerprint);
  });

  test('what we write is what they write', () => {
    expect(formatPem(parsePublicKey(openssl.pem))).toBe(openssl.pem);
    expect(formatOpenSsh(parsePublicKey(openssh.line), 'key@example')).toBe(`${openssh.line}\n`);
    expect(formatOpenSsh(parsePublicKey(openssh.line))).toBe(`ssh-ed25519 ${blob}\n`);
  });
});

test('an OpenSSH blob comes back; one of another type or length is none, and a weak one is refused', () => {
  const key = generateKey().publicKey;
  const bytes = openSshBlob(key);
  expect(parseOpenSshBlob(bytes)?.kid).toBe(key.kid);
  expect(parseOpenSshBlob(bytes.subarray(1))).toBeUndefined();
  expect(parseOpenSshBlob(Buffer.concat([bytes, Buffer.of(0)]))).toBeUndefined();
  const identity = Buffer.from(`01${'00'.repeat(31)}`, 'hex');
  expect(() => parseOpenSshBlob(Buffer.concat([bytes.subarray(0, -32), identity]))).toThrow(
    refused,
  );
});

test('every key comes back from every form', () => {
  for (let i = 0; i < 20; i += 1) {
    const { kid, jwk } = generateKey().publicKey;
    const raw = Buffer.from(jwk.x, 'base64url');
    const forms = [
      formatPem({ jwk } as never),
      formatOpenSsh({ jwk } as never, 'a comment'),
      JSON.stringify(jwk),
      raw.toString('hex'),
      raw.toString('base64'),
      raw.toString('base64url'),
    ];
    for (const form of forms) expect(parsePublicKey(form).kid).toBe(kid);
  }
});

describe('refused', () => {
  const spki = (type: 'x25519' | 'ed448') =>
    generateKeyPairSync(type as 'x25519', {
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    });
  const rsa = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'pkcs1', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  const rewritten = (change: (bytes: Buffer) => Buffer) =>
    `ssh-ed25519 ${change(Buffer.from(blob, 'base64')).toString('base64')}`;
  test.each([
    { name: 'nothing', text: '' },
    { name: 'blanks', text: ' \n ' },
    { name: 'a word', text: 'hunter2' },
    { name: 'too long', text: 'A'.repeat(4097) },
    { name: 'a private key', text: spki('x25519').privateKey },
    {
      name: 'an OpenSSH private key',
      text: '-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----',
    },
    { name: 'a private JWK', text: JSON.stringify({ ...openssl.jwk, d: 'AAAA' }) },
    {
      name: 'a JWK that names a member twice',
      text: JSON.stringify(openssl.jwk).replace('{', '{"x":"A",'),
    },
    { name: 'broken JSON', text: '{"kty":' },
    { name: 'a JWK set', text: JSON.stringify({ keys: [openssl.jwk] }) },
    { name: 'PEM of X25519', text: spki('x25519').publicKey },
    { name: 'PEM of Ed448', text: spki('ed448').publicKey },
    { name: 'PEM of RSA', text: rsa.publicKey },
    { name: 'a cut PEM', text: openssl.pem.replace('MCow', '') },
    { name: 'two PEM blocks', text: openssl.pem + openssl.pem },
    { name: 'PEM without an end', text: openssl.pem.replace(/-----END.*/, '') },
    { name: 'PEM of a weak key', text: pemOf(weak.lowOrder[4]!) },
    { name: 'hex of a weak key', text: weak.lowOrder[0]! },
    { name: 'hex of a key of mixed order', text: weak.mixedOrder[0]! },
    {
      name: 'base64 of a non-canonical key',
      text: Buffer.from(weak.nonCanonical[0]!, 'hex').toString('base64'),
    },
    { name: '63 hex digits', text: openssl.hex.slice(1) },
    { name: '65 hex digits', text: `${openssl.hex}0` },
    { name: 'base64 of 31 bytes', text: Buffer.alloc(31, 9).toString('base64') },
    { name: 'base64 of 33 bytes', text: Buffer.alloc(33, 9).toString('base64') },
    { name: 'base64 with two padding characters', text: `${openssl.jwk.x}==` },
    { name: 'base64 with spare bits set', text: `${openssl.jwk.x.slice(0, -1)}V` },
    { name: 'the OpenSSH type alone', text: 'ssh-ed25519' },
    { name: 'two OpenSSH lines', text: `${openssh.line}\n${openssh.line}` },
    { name: 'an OpenSSH certificate', text: `ssh-ed25519-cert-v01@openssh.com ${blob}` },
    { name: 'ssh-rsa', text: `ssh-rsa ${blob}` },
    { name: 'OpenSSH with options before the key', text: `no-pty ${openssh.line}` },
    { name: 'an OpenSSH key of 31 bytes', text: rewritten((b) => b.subarray(0, -1)) },
    {
      name: 'an OpenSSH key with a byte more',
      text: rewritten((b) => Buffer.concat([b, Buffer.of(0)])),
    },
    {
      name: 'an OpenSSH key of another inner type',
      text: rewritten((b) =>
        Buffer.from(b.toString('latin1').replace('ed25519', 'ed25518'), 'latin1'),
      ),
    },
    {
      name: 'an OpenSSH line with a weak key',
      text: rewritten((b) => Buffer.concat([b.subarray(0, -32), Buffer.alloc(32)])),
    },
  ])('$name', ({ text }) => {
    expect(() => parsePublicKey(text)).toThrow(refused);
  });

  function pemOf(hex: string): string {
    const x = Buffer.from(hex, 'hex').toString('base64url');
    return formatPem({ jwk: { kty: 'OKP', crv: 'Ed25519', x } } as never);
  }

  test('a private key is called by its name and not echoed', () => {
    const { privateKey } = spki('x25519');
    const secret = privateKey.split('\n')[1] as string;
    expect(() => parsePublicKey(privateKey)).toThrow(/private key/);
    expect(() => parsePublicKey(privateKey)).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining(secret) }),
    );
  });

  test('any text gives a key or a FormatError', () => {
    const begin = fc.constantFrom(
      '',
      '{',
      '-----BEGIN PUBLIC KEY-----\n',
      'ssh-ed25519 ',
      'ssh-ed25519',
    );
    fc.assert(
      fc.property(begin, fc.oneof(fc.string(), fc.base64String()), (a, b) => {
        expect(() => parsePublicKey(a + b)).toThrow(refused);
      }),
    );
  });
});
