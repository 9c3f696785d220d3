/**
 * A Unix socket that programs on the device find: opened with its mode and group from the first moment,
 * taken over from an agent that was killed, never from one that runs.
 *
 * Units   milliseconds; file modes in octal.
 * Errors  `UsageError`: another agent runs on it, or it cannot be made; what to do is in the text.
 * Source  DESIGN 7; invariants I2 and I11.
 *
 * @module
 */
import { execFile } from 'node:child_process';
import { chmod, chown, lstat, readFile, rename, rm } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import { connect } from 'node:net';
import { promisify } from 'node:util';
import { isMainThread } from 'node:worker_threads';
import { type Logger, UsageError } from '@latchkey/shared';

const MAX_CONNECTIONS = 64;
const REQUEST_TIMEOUT_MS = 10_000;
/** `sun_path` of Linux, less the closing zero. */
const MAX_PATH_BYTES = 107;

export interface ListenerDeps {
  readonly path: string;
  /** Who may connect: those who may write to the file. */
  readonly mode: number;
  /** Name or number of the group that the file belongs to; that of the process when `undefined`. */
  readonly group: string | undefined;
  readonly onRequest: RequestListener;
  readonly logger: Logger;
}

export interface Listener {
  close(): Promise<void>;
}

const codeOf = (error: unknown): unknown =>
  error instanceof Error && 'code' in error ? error.code : undefined;

/** Whether a process answers on the socket. */
function isAlive(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const settle = (alive: boolean): void => {
      socket.destroy();
      resolve(alive);
    };
    socket.once('connect', () => settle(true));
    // Whatever else is wrong, somebody may be there.
    socket.once('error', (error) => {
      settle(codeOf(error) !== 'ECONNREFUSED' && codeOf(error) !== 'ENOENT');
    });
  });
}

/**
 * Takes away a socket that a crashed agent left. It is moved first and asked after, so that two agents
 * that start at once cannot take away each other's fresh one.
 */
async function removeStale(path: string): Promise<void> {
  if (!(await lstat(path)).isSocket()) throw new UsageError(`${path} is not a socket; remove it`);
  const running = new UsageError(`another agent runs on ${path}; stop it first`);
  if (await isAlive(path)) throw running;
  const moved = `${path}.${process.pid}.old`;
  await rename(path, moved);
  if (await isAlive(moved)) {
    await rename(moved, path);
    throw running;
  }
  await rm(moved, { force: true });
}

/** Number of a group, also of one that is not in `/etc/group` but in a directory service. */
async function groupId(group: string, path: string): Promise<number> {
  if (/^\d{1,10}$/.test(group)) return Number(group);
  const lines = (await readFile('/etc/group', 'utf8').catch(() => '')).split('\n');
  const local = lines.find((line) => line.startsWith(`${group}:`));
  const entry =
    local ?? (await promisify(execFile)('getent', ['group', group]).catch(() => undefined))?.stdout;
  const number = entry?.split(':')[2];
  if (number === undefined) throw new UsageError(`there is no group ${group} for ${path}`);
  return Number(number);
}

/**
 * Binds with no access for anybody, so that nobody connects before the file has its group and mode.
 * Node binds a path at once, and the umask is the process's own again before anything else runs.
 */
function listenClosed(server: ReturnType<typeof createServer>, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    const umask = isMainThread ? process.umask(0o777) : undefined; // a worker may not
    try {
      server.listen(path, () => {
        server.off('error', reject);
        resolve();
      });
    } finally {
      if (umask !== undefined) process.umask(umask);
    }
  });
}

/** Says in words what a person can mend; libuv has one code for both. */
function explained(error: unknown, path: string): unknown {
  if (codeOf(error) !== 'EACCES') return error;
  return new UsageError(`cannot make the socket ${path}: its folder must exist and be writable`);
}

/** Listens on the socket; refuses when another agent does. */
export async function openListener(deps: ListenerDeps): Promise<Listener> {
  const { path, mode, group, onRequest, logger } = deps;
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) {
    throw new UsageError(`the path ${path} is too long for a socket; use a shorter one`);
  }
  const gid = group === undefined ? undefined : await groupId(group, path);
  const server = createServer(onRequest);
  server.maxConnections = MAX_CONNECTIONS;
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  server.headersTimeout = REQUEST_TIMEOUT_MS;
  const close = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve()); // removes the socket file
      server.closeAllConnections();
    });
  try {
    await listenClosed(server, path);
  } catch (error) {
    if (codeOf(error) !== 'EADDRINUSE') throw explained(error, path);
    await removeStale(path);
    await listenClosed(server, path);
  }
  server.on('error', (error) => {
    logger.error({ event: 'socket.failed', err: error }, 'the local socket failed');
  });
  try {
    if (gid !== undefined) await chown(path, -1, gid);
    await chmod(path, mode);
  } catch (error) {
    await close();
    if (codeOf(error) !== 'EPERM') throw error;
    const text = `${path} cannot be given to the group ${group}: the agent's account is not in it`;
    throw new UsageError(text);
  }
  return { close };
}
