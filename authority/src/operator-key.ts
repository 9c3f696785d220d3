/**
 * The operator's key file: with it the command line is a client of the management API.
 *
 * Units   none.
 * Errors  `ConfigError`.
 * Source  README "Operator key".
 *
 * @module
 */
import {
  type ClientId,
  ConfigError,
  createKeySigner,
  exportPrivatePem,
  type Issuer,
  importPrivatePem,
  type PrivateKey,
  parseClientId,
  parsedBy,
  parseIssuer,
  parseWith,
  type Signer,
} from '@latchkey/shared';
import * as v from 'valibot';
import { readPrivateFile, writePrivateFile } from './private-file.js';

/** Client id and role of the operator that `init` makes. */
export const OPERATOR = 'operator';

export interface OperatorKey {
  readonly issuer: Issuer;
  readonly clientId: ClientId;
  readonly signer: Signer;
}

const schema = v.strictObject({
  issuer: v.pipe(v.string(), parsedBy(parseIssuer)),
  client_id: v.pipe(v.string(), parsedBy(parseClientId)),
  private_key: v.pipe(v.string(), parsedBy(importPrivatePem)),
});

export function writeOperatorKey(
  path: string,
  { issuer, clientId, key }: { issuer: Issuer; clientId: ClientId; key: PrivateKey },
): void {
  const file = { issuer, client_id: clientId, private_key: exportPrivatePem(key) };
  writePrivateFile(path, `${JSON.stringify(file, undefined, 2)}\n`);
}

export function readOperatorKey(path: string): OperatorKey {
  const text = readPrivateFile(path);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new ConfigError(path, [{ path: '', message: 'is not JSON' }]);
  }
  const { issuer, client_id, private_key } = parseWith(schema, value, path);
  return { issuer, clientId: client_id, signer: createKeySigner(private_key) };
}
