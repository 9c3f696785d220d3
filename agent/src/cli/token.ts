/**
 * `latchkey-agent token`: prints an access token alone, for other programs on the device.
 *
 * Units   none.
 * Errors  exit code 1 when the authority refuses, 3 when it cannot be reached.
 * Source  RFC 8707 2 (resource), RFC 6749 3.3 (scope).
 *
 * @module
 */
import { resolve } from 'node:path';
import { EXIT, parseResourceId, silentLogger, withTlsPins } from '@latchkey/shared';
import { createAuthorityTime, learnTimeFrom } from '../authority-time.js';
import { openIdentity } from '../identity.js';
import { createIssuedTokenSource } from '../issued-token.js';
import { keepTime } from '../time-file.js';
import { openTokenCache } from '../token-cache.js';
import { type Io, writeLine } from './io.js';

export interface TokenOptions {
  readonly stateDir: string;
  readonly resource?: string | undefined;
  readonly scope?: readonly string[] | undefined;
}

export async function runToken(options: TokenOptions, io: Io): Promise<number> {
  const stateDir = resolve(options.stateDir);
  const resource =
    options.resource === undefined ? undefined : parseResourceId(options.resource, '--resource');
  const scope = options.scope?.join(' ');
  const { identity, signer } = await openIdentity(stateDir, io);
  const cache = await openTokenCache(stateDir);
  const logger = silentLogger;
  const clock = createAuthorityTime({ machine: io.clock, logger });
  const timeFile = await keepTime(stateDir, clock, logger);
  const http = learnTimeFrom(
    withTlsPins(io.http, identity.tlsPins ?? []),
    identity.issuer,
    clock,
    timeFile.save,
  );
  const tokens = createIssuedTokenSource({ identity, signer, cache, http, clock, logger });
  const { accessToken } = await tokens.get({ resource, scope });
  writeLine(io.stdout, accessToken);
  return EXIT.ok;
}
