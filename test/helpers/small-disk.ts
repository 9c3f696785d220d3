/**
 * A small disk of its own, which a test fills or lets fail. Needs the right to mount; where the system
 * refuses, the test is skipped and says so.
 *
 * @module
 */
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  openSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { onTestFinished, type TestContext } from 'vitest';
import { temporaryDir } from './processes.ts';

const run = (file: string, ...args: readonly string[]): string =>
  execFileSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

function mount(skip: TestContext['skip'], ...args: readonly string[]): string {
  const path = join(temporaryDir(), 'disk');
  mkdirSync(path);
  try {
    run('mount', ...args, path);
  } catch (error) {
    return skip(`a disk cannot be mounted here: ${(error as Error).message}`);
  }
  onTestFinished(() => void run('umount', '--lazy', path));
  return path;
}

export interface SmallDisk {
  readonly path: string;
  /** Takes all that is free. */
  fill(): void;
  /** Gives it back. */
  free(): void;
}

/** Holds two megabytes, in memory. */
export function mountSmallDisk({ skip }: Pick<TestContext, 'skip'>): SmallDisk {
  const path = mount(skip, '-t', 'tmpfs', '-o', 'size=2m', 'tmpfs');
  const ballast = join(path, 'ballast');
  return {
    path,
    fill: () => {
      const file = openSync(ballast, 'a');
      try {
        for (;;) writeSync(file, Buffer.alloc(4096));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      } finally {
        closeSync(file);
      }
    },
    free: () => rmSync(ballast),
  };
}

export interface WornDisk {
  readonly path: string;
  /** From now on it takes no writing, as an SD card at its end: the kernel makes it read-only. */
  fail(): void;
}

/** A file system in a file, which the kernel itself takes for broken when the test says so. */
export function mountWornDisk({ skip }: Pick<TestContext, 'skip'>): WornDisk {
  const image = join(temporaryDir(), 'image');
  writeFileSync(image, '');
  truncateSync(image, 16 * 1024 * 1024);
  try {
    run('mkfs.ext4', '-q', image);
  } catch (error) {
    return skip(`no ext4 here: ${(error as Error).message}`);
  }
  const path = mount(skip, '-o', 'loop,errors=remount-ro', image);
  return {
    path,
    fail: () => {
      const device = basename(
        run('losetup', '--noheadings', '--output', 'NAME', '-j', image).trim(),
      );
      writeFileSync(`/sys/fs/ext4/${device}/trigger_fs_error`, 'worn out');
    },
  };
}
