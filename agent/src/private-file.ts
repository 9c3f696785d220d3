/**
 * The state folder and the files in it: private to this account, and whole after a power cut.
 *
 * Units   file modes in octal.
 * Errors  `UsageError` with the command that mends it, when others could read what is secret.
 * Source  DESIGN 7; STYLE 2.6 (group- or world-readable key files are refused).
 *
 * @module
 */
import { randomUUID } from 'node:crypto';
import { link, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { UsageError } from '@latchkey/shared';

/** Files in the state folder. */
export const STATE_FILES = {
  identity: 'identity.json',
  key: 'device-key.pem',
  nextKey: 'next-key.pem',
  tokens: 'tokens.json',
  time: 'time.json',
  comeback: 'comeback.json',
  outbox: 'outbox.sqlite',
  subscriptions: 'subscriptions.json',
  socket: 'agent.sock',
  lock: 'agent.lock',
  keyRotation: 'key-rotation.lock',
} as const;

/** Nothing we keep is larger; a larger file is not ours. */
const MAX_FILE_BYTES = 1024 * 1024;
/** No access for others. */
const FILE_OTHERS = 0o077;
/** In a folder the group may have `x`: it passes through to the socket and can list nothing. */
const DIR_OTHERS = 0o067;

const octal = (mode: number): string => (mode & 0o777).toString(8).padStart(4, '0');
const hasCode = (error: unknown, code: string): boolean =>
  error instanceof Error && 'code' in error && error.code === code;

/** Whoever owns a file can change it and its mode. The superuser may use the folder of another account. */
function checkOwner(path: string, ownerId: number): void {
  const ownId = process.getuid?.();
  if (ownId === undefined || ownId === 0 || ownerId === ownId || ownerId === 0) return;
  throw new UsageError(
    `${path} belongs to another account (uid ${ownerId}); run as that one, or: chown ${ownId} ${path}`,
  );
}

/** Refuses a state folder that does not exist, is another's, or that others may read or write. */
export async function checkStateDir(dir: string): Promise<void> {
  const info = await stat(dir).catch((error: unknown) => {
    if (hasCode(error, 'ENOENT')) throw new UsageError(`state folder ${dir} does not exist`);
    throw error;
  });
  if (!info.isDirectory()) throw new UsageError(`${dir} is not a folder`);
  checkOwner(dir, info.uid);
  if ((info.mode & DIR_OTHERS) !== 0) {
    throw new UsageError(
      `state folder ${dir} is open to others (mode ${octal(info.mode)}); run: chmod 700 ${dir}`,
    );
  }
}

/** Makes the state folder (0700) if it is not there, and checks it. */
export async function makeStateDir(dir: string): Promise<void> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  await checkStateDir(dir);
}

/** Text of a private file, or `undefined` when there is none. Checks owner and mode of what it opened. */
export async function readPrivateFile(path: string): Promise<string | undefined> {
  let file: Awaited<ReturnType<typeof open>>;
  try {
    file = await open(path, 'r');
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    if (hasCode(error, 'EACCES')) {
      throw new UsageError(`${path} is not readable by this account; see: ls -l ${path}`);
    }
    throw error;
  }
  try {
    const info = await file.stat();
    if (!info.isFile()) throw new UsageError(`${path} is not a file`);
    checkOwner(path, info.uid);
    if ((info.mode & FILE_OTHERS) !== 0) {
      throw new UsageError(
        `${path} is open to others (mode ${octal(info.mode)}); run: chmod 600 ${path}`,
      );
    }
    if (info.size > MAX_FILE_BYTES) throw new UsageError(`${path} is too large to be ours`);
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}

async function syncDir(dir: string): Promise<void> {
  const handle = await open(dir, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Writes the text beside its place, on disk before it returns; the name is no other writer's. */
async function writeBeside(path: string, text: string): Promise<string> {
  const draft = `${path}.${randomUUID()}.new`;
  const file = await open(draft, 'wx', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  } finally {
    await file.close();
  }
  return draft;
}

/** Replaces a private file: after a power cut there is the old text or the new one, never a part. */
export async function writePrivateFile(path: string, text: string): Promise<void> {
  const draft = await writeBeside(path, text);
  await rename(draft, path);
  await syncDir(dirname(path));
}

/** Creates a private file and says whether it did: `false` when one is there already. */
export async function createPrivateFile(path: string, text: string): Promise<boolean> {
  const draft = await writeBeside(path, text);
  try {
    await link(draft, path); // unlike rename, fails when the file exists: one of two callers wins
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false;
    throw error;
  } finally {
    await rm(draft, { force: true });
  }
  await syncDir(dirname(path));
  return true;
}

/** Path of one of our files. */
export function stateFile(dir: string, name: keyof typeof STATE_FILES): string {
  return join(dir, STATE_FILES[name]);
}

/** Lets one of our files take the place of another. */
export async function replaceStateFile(
  dir: string,
  from: keyof typeof STATE_FILES,
  to: keyof typeof STATE_FILES,
): Promise<void> {
  await rename(stateFile(dir, from), stateFile(dir, to));
  await syncDir(dir);
}

export async function removeStateFile(dir: string, name: keyof typeof STATE_FILES): Promise<void> {
  await rm(stateFile(dir, name), { force: true });
}
