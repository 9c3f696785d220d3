/**
 * The machine that is measured on: what it is, and what else it is doing.
 *
 * Units   CPU time in seconds over all cores; foreign load in cores.
 * Errors  none; where there is no `/proc`, foreign load is not seen.
 * Source  proc(5): `/proc/stat`, `/proc/[pid]/stat`.
 *
 * @module
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import {
  availableParallelism,
  cpus,
  loadavg,
  release,
  type as systemName,
  totalmem,
} from 'node:os';

/** Clock ticks per second in `/proc`, the same on every Linux. */
const TICKS = 100;

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly system: string;
  readonly node: string;
  readonly openssl: string;
  /** Versions of the libraries that take part. */
  readonly libraries: Readonly<Record<string, string>>;
  /** Load averages of 1, 5 and 15 minutes at the start. */
  readonly load: readonly number[];
  readonly startedAt: string;
}

/** The manifest above the entry of the package: not every package exports its own. */
function versionOf(library: string): string {
  const entry = createRequire(import.meta.url).resolve(library);
  const root = entry.slice(0, entry.lastIndexOf(`node_modules/${library}/`));
  const manifest = `${root}node_modules/${library}/package.json`;
  return (JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }).version;
}

export function describeMachine(libraries: readonly string[]): Machine {
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${systemName()} ${release()}`,
    node: process.versions.node,
    openssl: process.versions.openssl,
    libraries: Object.fromEntries(libraries.map((library) => [library, versionOf(library)])),
    load: loadavg().map((load) => Math.round(load * 100) / 100),
    startedAt: new Date().toISOString(),
  };
}

/** Time in user mode (nice included) and in the kernel; interrupts are nobody's. */
function busySeconds(): number | undefined {
  try {
    const [user, nice, system] = readFileSync('/proc/stat', 'utf8')
      .split(/\s+/)
      .slice(1, 4)
      .map(Number);
    return (Number(user) + Number(nice) + Number(system)) / TICKS;
  } catch {
    return undefined;
  }
}

function processSeconds(pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS;
  } catch {
    return 0; // it has ended
  }
}

function ownSeconds(pids: readonly number[]): number {
  const { user, system } = process.cpuUsage();
  return pids.reduce((sum, pid) => sum + processSeconds(pid), (user + system) / 1e6);
}

/**
 * Starts watching. The function returned says how many cores other processes used since then; `pids`
 * are processes that belong to the measurement.
 */
export function watchForeignLoad(pids: readonly number[] = []): () => number {
  const [busy, own, at] = [busySeconds(), ownSeconds(pids), performance.now()];
  return () => {
    const busyNow = busySeconds();
    if (busy === undefined || busyNow === undefined) return 0;
    const foreign = busyNow - busy - (ownSeconds(pids) - own);
    return Math.max(0, foreign / ((performance.now() - at) / 1000));
  };
}
