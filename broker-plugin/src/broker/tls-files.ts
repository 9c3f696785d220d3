/**
 * Certificate and private key of a TLS listener, read from their files and tried before use.
 *
 * Units   none.
 * Errors  `TlsFileError`, naming the option at fault and never what a file holds.
 * Source  STYLE 2.6 (key files that others can read are refused); RFC 8996 (TLS 1.2 at least).
 *
 * @module
 */
import { readFile, stat } from 'node:fs/promises';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { isPrivateMode } from '../private-mode.js';

export interface TlsFiles {
  /** The certificate first, then those up to the root, in PEM. */
  readonly certificateFile: string;
  /** PKCS#8 or SEC1 in PEM, readable by its owner alone. */
  readonly keyFile: string;
}

/** A file that cannot be used. */
export class TlsFileError extends Error {
  constructor(message: string, options?: { readonly cause: unknown }) {
    super(message, options);
    this.name = 'TlsFileError';
  }
}

async function read(option: string, file: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'unknown error';
    throw new TlsFileError(`${option}: ${file} cannot be read (${code})`, { cause });
  }
}

/** Reads both files anew. What it answers with was accepted by the TLS library. */
export async function readTlsFiles(files: TlsFiles): Promise<SecureContextOptions> {
  const cert = await read('certificate_file', files.certificateFile);
  const key = await read('key_file', files.keyFile);
  const { mode } = await stat(files.keyFile);
  if (!isPrivateMode(files.keyFile, mode)) {
    throw new TlsFileError(`key_file: ${files.keyFile} can be read by others: chmod 600`);
  }
  const options: SecureContextOptions = { cert, key, minVersion: 'TLSv1.2' };
  try {
    createSecureContext(options);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'unknown error';
    throw new TlsFileError(`certificate_file and key_file cannot be used together (${code})`, {
      cause,
    });
  }
  return options;
}
