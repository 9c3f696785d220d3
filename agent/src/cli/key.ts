/**
 * `latchkey-agent key create | show`: the device's key before it is registered, in the forms that an
 * operator registers.
 *
 * Units   none.
 * Errors  exit code 2 when there is a key already, or none to show; 3 when ssh-agent does not answer.
 * Source  RFC 7517 and 8037 (JWK), RFC 8410 (PEM), RFC 8709 (OpenSSH), RFC 7638 (fingerprint).
 *
 * @module
 */
import { resolve } from 'node:path';
import {
  EXIT,
  formatOpenSsh,
  formatOpenSshFingerprint,
  formatPem,
  type PublicKey,
  UsageError,
} from '@latchkey/shared';
import { readIdentity, readKeyInUse } from '../identity.js';
import { newStoredKey, readKey, type StoredKey, writeNewKey } from '../key-store.js';
import { checkStateDir, makeStateDir, stateFile } from '../private-file.js';
import { listSshIdentities, type SshIdentity } from '../ssh-agent.js';
import { type Io, writeLine } from './io.js';

/** How a public key is written. `fingerprint` is what the authority calls `kid`. */
export const KEY_FORMATS = ['jwk', 'pem', 'openssh', 'fingerprint'] as const;
export type KeyFormat = (typeof KEY_FORMATS)[number];

export interface KeyShowOptions {
  readonly stateDir: string;
  readonly format: KeyFormat;
}

export interface KeyCreateOptions extends KeyShowOptions {
  /** Which key of ssh-agent; `true`: the only one that it has. */
  readonly sshAgent?: string | true | undefined;
}

/** `comment`: what an OpenSSH line ends with. */
export function formatPublicKey(key: PublicKey, format: KeyFormat, comment = ''): string {
  switch (format) {
    case 'jwk':
      return `${JSON.stringify(key.jwk)}\n`;
    case 'pem':
      return formatPem(key);
    case 'openssh':
      return formatOpenSsh(key, comment);
    case 'fingerprint':
      return `${key.kid}\n`;
  }
}

const describe = ({ key, comment }: SshIdentity): string =>
  `  ${formatOpenSshFingerprint(key)} ${comment}`;

/** The key of ssh-agent that is meant by its fingerprint of either kind or by its comment. */
function chooseIdentity(
  identities: readonly SshIdentity[],
  wanted: string | true,
): SshIdentity['key'] {
  const chosen = identities.filter(
    ({ key, comment }) =>
      wanted === true || [formatOpenSshFingerprint(key), key.kid, comment].includes(wanted),
  );
  const [only] = chosen;
  if (only !== undefined && chosen.length === 1) return only.key;
  if (identities.length === 0) {
    throw new UsageError(
      'ssh-agent has no Ed25519 key, or is locked; make one: ssh-keygen -t ed25519, then ssh-add',
    );
  }
  const problem = only === undefined ? 'no such key in ssh-agent' : 'several keys in ssh-agent';
  throw new UsageError(
    `${problem}; say which one, by its fingerprint:\n${identities.map(describe).join('\n')}`,
  );
}

/** A key that ssh-agent holds, or a new one. */
export async function obtainKey(
  sshAgent: string | true | undefined,
  { sshAgentSocket: socketPath }: Pick<Io, 'sshAgentSocket'>,
): Promise<StoredKey> {
  if (sshAgent === undefined) return newStoredKey();
  if (socketPath === undefined) {
    throw new UsageError('SSH_AUTH_SOCK is not set; start an agent: eval "$(ssh-agent)"');
  }
  return { publicKey: chooseIdentity(await listSshIdentities({ socketPath }), sshAgent) };
}

export async function runKeyCreate(options: KeyCreateOptions, io: Io): Promise<number> {
  const stateDir = resolve(options.stateDir);
  await makeStateDir(stateDir);
  const path = stateFile(stateDir, 'key');
  const thereIsOne = (key: StoredKey): UsageError =>
    new UsageError(
      `there is a key already: ${key.publicKey.kid} in ${path}; ` +
        'see it with key show, or replace it with key rotate',
    );
  const earlier = await readKey(stateDir);
  if (earlier !== undefined) throw thereIsOne(earlier);
  const key = await obtainKey(options.sshAgent, io);
  if (!(await writeNewKey(stateDir, key))) throw thereIsOne((await readKey(stateDir)) ?? key);
  io.stdout.write(formatPublicKey(key.publicKey, options.format));
  writeLine(
    io.stderr,
    `${path}: key ${key.publicKey.kid}${key.privateKey ? '' : ', held by ssh-agent'}; ` +
      'register it: latchkey device create CLIENT-ID --public-key FILE',
  );
  return EXIT.ok;
}

export async function runKeyShow(options: KeyShowOptions, io: Io): Promise<number> {
  const stateDir = resolve(options.stateDir);
  await checkStateDir(stateDir);
  const identity = await readIdentity(stateDir);
  const key = await (identity ? readKeyInUse(stateDir, identity) : readKey(stateDir));
  if (key === undefined) {
    throw new UsageError(`${stateDir} has no key; run: latchkey-agent key create`);
  }
  io.stdout.write(formatPublicKey(key.publicKey, options.format, identity?.clientId));
  if (options.format === 'openssh') writeLine(io.stderr, formatOpenSshFingerprint(key.publicKey));
  return EXIT.ok;
}
