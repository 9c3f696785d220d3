/**
 * Certificates in PEM: those a listener shows, and those of the authorities it trusts.
 *
 * Units   `expiresAt`: NumericDate.
 * Errors  `ConfigError`, naming the file and never what it holds.
 * Source  RFC 7468 5 (one file may hold several), RFC 5280 4.1.2.5 (validity).
 *
 * @module
 */
import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { ConfigError, type NumericDate, parseHttpDate } from '@latchkey/shared';

export interface Certificates {
  readonly pem: string;
  /** In the order of the file; at least one. */
  readonly list: readonly X509Certificate[];
}

const BLOCK = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;
const MAX_CERTIFICATES = 1000;

function refuse(file: string, message: string): never {
  throw new ConfigError(file, [{ path: '', message }]);
}

/** Reads every certificate of a file. */
export async function readCertificates(file: string): Promise<Certificates> {
  const pem = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) =>
    refuse(file, `cannot be read (${error.code ?? 'unknown error'})`),
  );
  const blocks = pem.match(BLOCK) ?? [];
  if (blocks.length === 0) refuse(file, 'holds no certificate in PEM');
  if (blocks.length > MAX_CERTIFICATES) refuse(file, `holds more than ${MAX_CERTIFICATES}`);
  try {
    return { pem, list: blocks.map((block) => new X509Certificate(block)) };
  } catch {
    // The reason that the TLS library gives may quote the file.
    return refuse(file, 'holds a certificate that is damaged');
  }
}

/** The instant from which the certificate is not valid any more. */
export function expiryOf({ validTo }: X509Certificate): NumericDate | undefined {
  return parseHttpDate(validTo);
}
