/** `--data-dir` for the commands that cannot do without. */
import { UsageError } from '@latchkey/shared';

export function requireDataDir(dataDir: string | undefined): string {
  if (dataDir === undefined || dataDir === '') throw new UsageError('--data-dir is required');
  return dataDir;
}
