/**
 * `[authority]` and `[key]` of the config file: where the device is registered, and its key.
 *
 * Units   `rotate_after_days` in days.
 * Errors  none of its own; `config-file.ts` lists the problems.
 * Source  STYLE 2.6; STANDARDS 2.2 (the issuer is pinned).
 *
 * @module
 */
import { parseClientId, parsedBy, parseIssuer, parseTlsPin } from '@latchkey/shared';
import * as v from 'valibot';
import type { AuthorityConfig, KeyConfig } from './config.js';
import { whole } from './config-values.js';

const issuer = v.pipe(
  v.string(),
  parsedBy((value) => parseIssuer(value)),
);
const clientId = v.pipe(
  v.string(),
  parsedBy((value) => parseClientId(value)),
);
const tlsPin = v.pipe(
  v.string(),
  parsedBy((value) => parseTlsPin(value)),
);

export const authoritySchema: v.GenericSchema<unknown, AuthorityConfig> = v.pipe(
  v.strictObject({
    issuer: v.optional(issuer),
    client_id: v.optional(clientId),
    tls_pins: v.optional(v.pipe(v.array(tlsPin), v.maxLength(8, 'must not exceed 8')), []),
  }),
  v.transform((table) => ({
    issuer: table.issuer,
    clientId: table.client_id,
    tlsPins: table.tls_pins,
  })),
);

/** The path is as written, still relative to the folder of the file. */
export const keySchema: v.GenericSchema<unknown, KeyConfig> = v.pipe(
  v.strictObject({
    ssh_agent_socket: v.optional(v.string(), ''),
    rotate_after_days: v.optional(whole(0, 3650), 0),
  }),
  v.transform((table) => ({
    sshAgentSocket: table.ssh_agent_socket || undefined,
    rotateAfterDays: table.rotate_after_days,
  })),
);
