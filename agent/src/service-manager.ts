/**
 * What systemd is told: ready, reloading, stopping, a line of status, signs of life.
 *
 * Node cannot send datagrams on a Unix socket, and an addon for that alone would be one more thing to
 * compile, so `systemd-notify` sends them; it is there wherever systemd is. It costs a process of a few
 * milliseconds for each change of state and sign of life, and the unit must say `NotifyAccess=all`. It
 * waits until the message was read (`BARRIER=1`), or systemd could not tell whose it was.
 *
 * Units   milliseconds; microseconds in the protocol.
 * Errors  none: a message that cannot be sent is logged once.
 * Source  sd_notify(3), sd_watchdog_enabled(3), systemd-notify(1); invariant I11.
 *
 * @module
 */
import type { Clock, Logger } from '@latchkey/shared';
import { runCommand } from './child-process.js';

/** Of the environment, what systemd gives to a service. */
export interface ServiceEnvironment {
  /** `NOTIFY_SOCKET`: a path, or an abstract address that begins with `@`. */
  readonly notifySocket?: string | undefined;
  /** `WATCHDOG_USEC` and `WATCHDOG_PID`. */
  readonly watchdogUsec?: string | undefined;
  readonly watchdogPid?: string | undefined;
  /** `PATH`, to find `systemd-notify`. */
  readonly path?: string | undefined;
}

export interface ServiceManager {
  /** Sends assignments such as `{ READY: '1' }`, in order; those that wait for another are joined. */
  tell(assignments: Readonly<Record<string, string>>): void;
  /** How often a sign of life is due: twice as often as demanded. `undefined`: never. */
  readonly watchdogMs: number | undefined;
  /** Resolves when all was sent. */
  idle(): Promise<void>;
}

const TIMEOUT_MS = 10_000;
/** Not to be joined with others: each is an event and not a value. */
const EVENTS: readonly string[] = ['READY', 'RELOADING', 'STOPPING'];

/** Half of the time in which systemd demands a sign of life of this process. */
export function watchdogInterval(environment: ServiceEnvironment, pid: number): number | undefined {
  const { watchdogUsec = '', watchdogPid = '' } = environment;
  if (watchdogPid !== '' && watchdogPid !== String(pid)) return undefined; // meant for another
  const usec = /^[0-9]{1,15}$/.test(watchdogUsec) ? Number(watchdogUsec) : 0;
  return usec > 0 ? Math.max(1, Math.floor(usec / 2000)) : undefined;
}

/** `undefined` when no service manager listens. */
export function connectServiceManager(deps: {
  readonly environment: ServiceEnvironment;
  readonly pid: number;
  readonly clock: Clock;
  readonly logger: Logger;
}): ServiceManager | undefined {
  const { environment, pid, clock, logger } = deps;
  const { notifySocket, path = '/usr/local/bin:/usr/bin:/bin' } = environment;
  if (notifySocket === undefined || notifySocket === '') return undefined;
  /** Joined as they come in, so it holds no more than the last few events and one line between two. */
  const queue: Map<string, string>[] = [];
  let sending: Promise<void> | undefined;
  let hasFailed = false;
  const never = new AbortController().signal;

  const send = async (message: ReadonlyMap<string, string>): Promise<void> => {
    const { end, exitCode, errorText } = await runCommand({
      command: ['systemd-notify', ...[...message].map(([name, value]) => `${name}=${value}`)],
      timeoutMs: TIMEOUT_MS,
      maxOutputBytes: 1024,
      workingDir: '/',
      environment: { PATH: path, NOTIFY_SOCKET: notifySocket },
      clock,
      signal: never,
    });
    if (exitCode === 0 || hasFailed) return;
    hasFailed = true;
    const detail = `systemd-notify ${exitCode ?? end} ${errorText}`.trim();
    logger.warn({ event: 'service.not-told', detail }, 'the service manager cannot be told');
  };

  const sendAll = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) await send(next);
    sending = undefined;
  };

  const isEvent = (message: ReadonlyMap<string, string>): boolean =>
    EVENTS.some((name) => message.has(name));

  return {
    tell: (assignments) => {
      const message = new Map(
        // A line break would begin another assignment.
        Object.entries(assignments).map(([name, text]) => [name, text.replace(/\s+/g, ' ')]),
      );
      const last = queue.at(-1);
      if (last !== undefined && !isEvent(last) && !isEvent(message)) {
        for (const [name, value] of message) last.set(name, value);
      } else queue.push(message);
      sending ??= sendAll();
    },
    watchdogMs: watchdogInterval(environment, pid),
    idle: async () => {
      await sending;
    },
  };
}
