/**
 * `latchkey-agent enroll`: makes the device's key and binds it to its client id.
 *
 * Units   none.
 * Errors  those of `enrollment.ts`; the code is never printed.
 * Source  DESIGN 4 (Enrollment).
 *
 * @module
 */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { EXIT, parseClientId, parseIssuer, parseTlsPin, UsageError } from '@latchkey/shared';
import { enroll } from '../enrollment.js';
import { type Io, readAll, writeLine } from './io.js';

export interface EnrollOptions {
  readonly authority: string;
  readonly clientId: string;
  /** Path, or `-` for the standard input. A code in argv would be seen by every user of the machine. */
  readonly codeFile?: string | undefined;
  /** The key of the state folder is registered already, and no code is needed. */
  readonly registered?: boolean | undefined;
  readonly tlsPin?: readonly string[] | undefined;
  readonly stateDir: string;
}

const MAX_CODE_BYTES = 1024;

async function readCode(codeFile: string, io: Io): Promise<string> {
  if (codeFile === '-') return (await readAll(io.stdin, MAX_CODE_BYTES)).toString('utf8');
  try {
    return await readFile(codeFile, 'utf8');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
    throw new UsageError(`the code file ${codeFile} cannot be read (${code})`);
  }
}

export async function runEnroll(options: EnrollOptions, io: Io): Promise<number> {
  const stateDir = resolve(options.stateDir);
  const { codeFile, registered = false, tlsPin } = options;
  if ((codeFile !== undefined) === registered) {
    throw new UsageError('enroll needs --code-file or --registered, and not both');
  }
  const { identity, isRepeated } = await enroll(
    {
      stateDir,
      issuer: parseIssuer(options.authority, '--authority'),
      clientId: parseClientId(options.clientId, '--client-id'),
      readCode: codeFile === undefined ? undefined : () => readCode(codeFile, io),
      tlsPins: tlsPin?.map((text) => parseTlsPin(text, '--tls-pin')),
    },
    io,
  );
  const { clientId, issuer, kid } = identity;
  writeLine(
    io.stderr,
    isRepeated
      ? `already enrolled as ${clientId} at ${issuer}; nothing to do`
      : `enrolled as ${clientId} at ${issuer} with key ${kid}`,
  );
  return EXIT.ok;
}
