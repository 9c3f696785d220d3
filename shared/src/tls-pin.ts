/**
 * Pins: the public keys that a TLS server may have, beyond what every certificate has to be.
 *
 * Only the server's own key counts. Certificates that it sends along prove nothing, and to compare with
 * those would let anybody append the pinned one.
 *
 * Units   a pin is the SHA-256 of a SubjectPublicKeyInfo in base64, 44 characters.
 * Errors  `FormatError`; a server with another key is an `Error` of the connection, before it is sent a byte.
 * Source  RFC 7469 2.4 (the pin), RFC 5280 4.1.2.7 (SubjectPublicKeyInfo).
 *
 * @module
 */
import { createHash, X509Certificate } from 'node:crypto';
import { Agent } from 'node:https';
import { checkServerIdentity } from 'node:tls';
import { FormatError } from './errors.js';
import type { Branded } from './ids.js';

export type TlsPin = Branded<'TlsPin'>;

/** Reads base64, alone or behind `sha256/` (as OkHttp has it) or `sha256//` (as curl has it). */
export function parseTlsPin(text: string, field = 'tls_pin'): TlsPin {
  const pin = /^(?:sha256\/\/?)?([A-Za-z0-9+/]{43}=)$/.exec(text)?.[1];
  if (pin === undefined || Buffer.from(pin, 'base64').toString('base64') !== pin) {
    throw new FormatError(
      field,
      "must be sha256/ and the SHA-256 of the server's public key in base64 (44 characters)",
    );
  }
  return pin as TlsPin;
}

/** The pin of a certificate, in DER or PEM. */
export function tlsPinOf(certificate: string | Buffer): TlsPin {
  const spki = new X509Certificate(certificate).publicKey.export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(spki).digest('base64') as TlsPin;
}

/**
 * Connections to servers with one of the keys, and no others. Each is made anew: one that was kept, or
 * resumed from a session, would not be asked for its key again.
 */
export function createPinningAgent(pins: readonly TlsPin[]): Agent {
  return new Agent({
    keepAlive: false,
    maxCachedSessions: 0,
    checkServerIdentity: (host, certificate) => {
      const problem = checkServerIdentity(host, certificate);
      if (problem !== undefined) return problem;
      const pin = tlsPinOf(certificate.raw);
      if (pins.includes(pin)) return undefined;
      return new Error(`its TLS key is none that is pinned; it is sha256/${pin}`);
    },
  });
}
