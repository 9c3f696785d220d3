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
import { EXIT, type ExitCode, UsageError } from '@latchkey/shared';
import { dataDirPaths } from '../../data-dir.js';
import { loadConfig, openDataDir } from '../../open-authority.js';
import { requireDataDir } from '../data-dir-option.js';
import { type Io, printLine, printNote } from '../io.js';

export interface EncryptOptions {
  readonly dataDir?: string;
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
    for (const { kid, path } of plain) {
      const key = keys.get(kid);
      if (key === undefined || key.status === 'retired') {
        printNote(io, `note: ${path} is of no key in use and can be deleted`);
      } else {
        keyFiles.encrypt(kid, key.alg);
        printLine(io, `encrypted ${kid}`);
      }
    }
    if (plain.length === 0) printNote(io, 'every private signing key is encrypted already');
  } finally {
    await registry.close();
  }
  return EXIT.ok;
}
