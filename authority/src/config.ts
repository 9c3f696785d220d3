/**
 * Settings of the authority, `authority.toml` in its data directory.
 *
 * Units   none.
 * Errors  `ConfigError` with all problems; an unknown key is one.
 * Source  STYLE 2.6.
 *
 * @module
 */
import { dirname, resolve } from 'node:path';
import {
  FormatError,
  type Issuer,
  isLoopbackHost,
  parseConfigText,
  parsedBy,
  parseIssuer,
} from '@latchkey/shared';
import * as v from 'valibot';

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface ListenAddress {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
}

export interface Config {
  readonly issuer: Issuer;
  readonly listen: ListenAddress;
  readonly logLevel: LogLevel;
  /** Age at which a signing key retires; 0: only by command. */
  readonly signingKeyRotationDays: number;
  /** File of the key that encrypts private signing keys; absolute. */
  readonly keyEncryptionKeyFile: string | undefined;
}

export const DEFAULT_LISTEN: ListenAddress = { host: '127.0.0.1', port: 9400 };

/** Reads `HOST:PORT`; an IPv6 address stands in brackets. */
export function parseListenAddress(value: string, field = 'listen'): ListenAddress {
  const match = /^(\[[0-9a-f:]+\]|[^:[\]\s]+):([0-9]{1,5})$/i.exec(value);
  const host = match?.[1]?.replace(/^\[|\]$/g, '') ?? '';
  const port = Number(match?.[2]);
  if (host === '' || !(port <= 65_535)) {
    throw new FormatError(field, 'must look like 127.0.0.1:9400 or [::1]:9400');
  }
  if (!isLoopbackHost(host)) {
    throw new FormatError(
      field,
      'must be an address of this machine only, such as 127.0.0.1: the authority does not speak TLS yet; put a TLS proxy in front of it',
    );
  }
  return { host, port };
}

export function formatListenAddress({ host, port }: ListenAddress): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** An issuer whose path can be a route of ours, character by character. */
export function parseOwnIssuer(value: string, field = 'issuer'): Issuer {
  const issuer = parseIssuer(value, field);
  if (!/^[A-Za-z0-9/._~-]*$/.test(new URL(issuer).pathname)) {
    throw new FormatError(field, 'must have a path of A-Z a-z 0-9 / . _ ~ - only');
  }
  return issuer;
}

const configSchema = v.strictObject({
  issuer: v.pipe(v.string(), parsedBy(parseOwnIssuer)),
  listen: v.optional(
    v.pipe(v.string(), parsedBy(parseListenAddress)),
    formatListenAddress(DEFAULT_LISTEN),
  ),
  log_level: v.optional(v.picklist(LOG_LEVELS), 'info'),
  signing_key_rotation_days: v.optional(
    v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(3650)),
    90,
  ),
  key_encryption_key_file: v.optional(v.pipe(v.string(), v.minLength(1))),
});

/** Reads the text of `authority.toml`; `source` names the file in messages. */
export function parseConfig(text: string, source: string): Config {
  const file = parseConfigText(configSchema, text, source);
  const { issuer, listen, log_level, key_encryption_key_file: keyFile } = file;
  return {
    issuer,
    listen,
    logLevel: log_level,
    signingKeyRotationDays: file.signing_key_rotation_days,
    keyEncryptionKeyFile: keyFile === undefined ? undefined : resolve(dirname(source), keyFile),
  };
}

/** The address to listen on that fits an issuer: its own when it is on loopback. */
export function listenAddressFor(issuer: Issuer): ListenAddress {
  const { protocol, hostname, port } = new URL(issuer);
  if (protocol !== 'http:') return DEFAULT_LISTEN;
  return { host: hostname.replace(/^\[|\]$/g, ''), port: port === '' ? 80 : Number(port) };
}

/** The file that `latchkey init` writes; it shows every setting. */
export function formatConfig(issuer: Issuer): string {
  return `# Settings of the authority. "latchkey validate" checks this file.

# Name of this authority in every token, and the URL where clients reach it.
# Fixed at "latchkey init": devices remember it, so a new issuer is a new authority.
issuer = ${JSON.stringify(issuer)}

# Address and port to listen on. Loopback only, because the authority does not speak
# TLS yet: put a TLS proxy in front of it. "latchkey serve --listen" overrides it.
listen = ${JSON.stringify(formatListenAddress(listenAddressFor(issuer)))}

# debug, info, warn or error. The log is JSON lines on stdout.
log_level = "info"

# Age in days at which the keys that sign tokens are replaced; 0 leaves it to
# "latchkey signing-key rotate". Old keys go on verifying until their tokens are expired.
signing_key_rotation_days = 90

# File with 32 random bytes (openssl rand -hex 32) that encrypts the private signing keys.
# Keep it outside of this directory and its backups. Without it, and without the systemd
# credential latchkey-key-encryption-key, these keys are files that only their owner can read.
# key_encryption_key_file = "/etc/latchkey/key-encryption-key"
`;
}
