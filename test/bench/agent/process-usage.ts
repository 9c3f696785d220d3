/**
 * What a process takes of the machine.
 *
 * Units   bytes, nanoseconds.
 * Errors  those of `/proc`, when the process has ended.
 * Source  proc(5): `status`, `io`, `task/[tid]/schedstat`.
 *
 * @module
 */
import { readdirSync, readFileSync } from 'node:fs';

function numberAfter(file: string, label: string): number {
  const [, digits] = new RegExp(`^${label}:\\s+(\\d+)`, 'm').exec(readFileSync(file, 'utf8')) ?? [];
  return Number(digits);
}

export const residentBytes = (pid: number): number =>
  numberAfter(`/proc/${pid}/status`, 'VmRSS') * 1024;

/** What it made the disk write, so far. */
export const writtenBytes = (pid: number): number => numberAfter(`/proc/${pid}/io`, 'write_bytes');

/** CPU time of all its threads so far; finer than the ticks of `stat`. */
export function cpuNanoseconds(pid: number): number {
  const dir = `/proc/${pid}/task`;
  return readdirSync(dir)
    .map((tid) => Number(readFileSync(`${dir}/${tid}/schedstat`, 'utf8').split(' ')[0]))
    .reduce((sum, ns) => sum + ns, 0);
}
