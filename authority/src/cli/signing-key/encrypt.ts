/**
 * `latchkey signing-key encrypt`: encrypts the private signing keys that still lie there as PEM.
 *
 * It works on the files of this machine, also beside a running authority.
 *
 * Units   none.
 * Errors  `ConfigError`; then no file was changed.
 * Source  DESIGN 5.
 *
 * @module
 */
import { EXIT, type ExitCode, type Kid, UsageError } from '@latchkey/shared';
import { AUTHORITY_ACTOR } from '../../audit/audit.js';
import { dataDirPaths } from '../../data-dir.js';
import { loadConfig, openDataDir } from '../../open-authority.js';
import type { AuditEvent } from '../../registry/audit-log.js';
import { openSqliteRegistry } from '../../registry/sqlite/sqlite-registry.js';
import { requireDataDir } from '../data-dir-option.js';
import { type Io, printLine, printNote } from '../io.js';

export interface EncryptOptions {
  readonly dataDir?: string;
}

const encrypted = (target: string): AuditEvent => ({
  ...{ type: 'signing-key', actor: AUTHORITY_ACTOR, action: 'encrypt', target },
  ...{ outcome: 'ok', address: undefined },
});

/** By a connection of its own: the one that checks only looks. */
async function record(dataDir: string, kids: readonly Kid[], { clock }: Io): Promise<void> {
  const registry = openSqliteRegistry({ path: dataDirPaths(dataDir).registry, clock });
  try {
    for (const kid of kids) await registry.recordEvent(encrypted(kid));
  } finally {
    await registry.close();
  }
}

export async function encryptSigningKeys(options: EncryptOptions, io: Io): Promise<ExitCode> {
  const dataDir = requireDataDir(options.dataDir);
  const config = loadConfig(dataDir);
  const { clock, credentialsDirectory } = io;
  // Opens every key that is in use, so a wrong key encryption key shows before anything is changed.
  const parts = await openDataDir({
    dataDir,
    config,
    clock,
    credentialsDirectory,
    isReadOnly: true,
  });
  const { registry, signingKeys, keyFiles } = parts;
  try {
    if (!keyFiles.canEncrypt) {
      throw new UsageError(
        `there is nothing to encrypt with: set key_encryption_key_file in ${dataDirPaths(dataDir).config}`,
      );
    }
    const plain = keyFiles.list().filter(({ isEncrypted }) => !isEncrypted);
    const keys = new Map((await signingKeys.list()).map((key) => [key.kid, key]));
    const done: Kid[] = [];
    for (const { kid, path } of plain) {
      const key = keys.get(kid);
      if (key === undefined || key.status === 'retired') {
        printNote(io, `note: ${path} is of no key in use and can be deleted`);
      } else {
        keyFiles.encrypt(kid, key.alg);
        done.push(key.kid);
        printLine(io, `encrypted ${kid}`);
      }
    }
    if (done.length > 0) await record(dataDir, done, io);
    if (plain.length === 0) printNote(io, 'every private signing key is encrypted already');
  } finally {
    await registry.close();
  }
  return EXIT.ok;
}
