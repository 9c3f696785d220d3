/**
 * Certificate and key of the server, checked before they are used.
 *
 * Units   `expiresAt`: NumericDate.
 * Errors  `ConfigError` naming the setting: a file that is missing, not PEM, readable by others, or
 *         the halves of different pairs.
 * Source  RFC 8446, RFC 9325 3.1.1 (TLS 1.2 at least); https://nodejs.org/api/tls.html
 *
 * @module
 */
import { X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { ConfigError, type NumericDate, parseHttpDate } from '@latchkey/shared';
import { readPrivateFile, readSmallFile } from '../private-file.js';

export interface TlsFiles {
  /** PEM: the server's certificate first, then those that lead to the root. */
  readonly certificateFile: string;
  /** PEM, mode 0600. */
  readonly keyFile: string;
}

/** What the server is given. */
export interface TlsCredentials {
  readonly cert: string;
  readonly key: string;
  readonly minVersion: 'TLSv1.2';
}

export interface LoadedTls {
  readonly credentials: TlsCredentials;
  readonly expiresAt: NumericDate | undefined;
}

function expiryOf(cert: string, { certificateFile }: TlsFiles): NumericDate | undefined {
  try {
    return parseHttpDate(new X509Certificate(cert).validTo);
  } catch {
    throw new ConfigError(certificateFile, [{ path: '', message: 'holds no certificate in PEM' }]);
  }
}

export function loadTls(files: TlsFiles): LoadedTls {
  const cert = readSmallFile(files.certificateFile);
  const key = readPrivateFile(files.keyFile);
  const expiresAt = expiryOf(cert, files);
  const credentials = { cert, key, minVersion: 'TLSv1.2' } as const;
  try {
    createSecureContext(credentials);
  } catch {
    // The reason that OpenSSL gives may quote the file.
    throw new ConfigError(files.keyFile, [
      { path: '', message: `holds no private key for the certificate in ${files.certificateFile}` },
    ]);
  }
  return { credentials, expiresAt };
}
