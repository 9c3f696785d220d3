/**
 * A progress bar on stderr, for a person who watches; none where stderr is not a terminal.
 *
 * Units   those of the caller.
 * Errors  none.
 * Source  https://github.com/npkgz/cli-progress
 *
 * @module
 */
import type { WriteStream } from 'node:tty';
import cliProgress from 'cli-progress';
import type { Io } from '../io.js';

export interface Progress {
  /** `note` stands behind the bar. */
  update(position: number, note: string): void;
  stop(): void;
}

const none: Progress = { update: () => undefined, stop: () => undefined };

/** `size` 0: nobody knows how much there is, so there is no bar. */
export function startProgress(io: Io, size: number): Progress {
  const stream = io.stderr as Partial<WriteStream>;
  if (stream.isTTY !== true || size === 0) return none;
  const bar = new cliProgress.SingleBar({
    stream: io.stderr,
    format: '[{bar}] {percentage}%  {note}  {eta_formatted} left',
    barCompleteChar: '#',
    barIncompleteChar: '.',
    barsize: 30,
    fps: 5,
    hideCursor: true,
    clearOnComplete: true,
  });
  bar.start(size, 0, { note: '' });
  return {
    update: (position, note) => bar.update(Math.min(position, size), { note }),
    stop: () => bar.stop(),
  };
}
