/**
 * `latchkey operator create <id>`: a service with a role at the management API, and its key in a file.
 *
 * The key is made here and stays here: the authority learns its public half only.
 *
 * Units   none.
 * Errors  those of `openManagement`; `UsageError` for a file that exists.
 * Source  README "Every day".
 *
 * @module
 */
import { existsSync, rmSync } from 'node:fs';
import { EXIT, type ExitCode, generateKey, parseClientId, UsageError } from '@latchkey/shared';
import { OPERATOR, writeOperatorKey } from '../../operator-key.js';
import { serviceView } from '../client/view.js';
import { type Io, printNote } from '../io.js';
import { parseLabelOption } from '../labels.js';
import { openManagement } from '../management-client.js';
import { printItem, type ShowOptions } from '../show.js';

export interface CreateOperatorOptions extends ShowOptions {
  /** Where the key goes; must not exist. */
  readonly keyFile: string;
  readonly role?: readonly string[];
  readonly limitToLabel?: string;
}

export async function createOperator(
  id: string,
  options: CreateOperatorOptions,
  io: Io,
): Promise<ExitCode> {
  const { keyFile, role: roles = [OPERATOR], limitToLabel: limit } = options;
  const clientId = parseClientId(id);
  if (existsSync(keyFile)) {
    throw new UsageError(`--key-file: ${keyFile} exists; give a path that does not`);
  }
  const key = generateKey();
  const body = {
    ...{ client_id: clientId, roles, public_key: key.publicKey.jwk },
    ...(limit !== undefined && { limited_to_label: parseLabelOption(limit, '--limit-to-label') }),
  };
  const management = await openManagement(options, io);
  // Before the client: an operator without a key would be one that nobody can use.
  writeOperatorKey(keyFile, { issuer: management.issuer, clientId, key });
  try {
    printItem(serviceView, await management.post(serviceView.path, body), options, io);
  } catch (error) {
    rmSync(keyFile, { force: true });
    throw error;
  }
  printNote(io, `use it with: --authority ${management.issuer} --operator-key ${keyFile}`);
  return EXIT.ok;
}
