/**
 * Opens the persistence that the configuration names.
 *
 * Units   none.
 * Errors  `ConfigError`, `MissingPackageError`, `UnreachableError`.
 * Source  Aedes 1.2.0 `lib/handlers/connect.js` (`storeWill`), `subscribe.js`.
 *
 * @module
 */
import type { Logger } from '@latchkey/shared';
import type { AedesPersistence, OpenPersistence } from './aedes-persistence.js';
import { openLevelPersistence } from './level-persistence.js';
import { type Load, loadBesideProgram } from './optional-package.js';
import type { PersistenceConfig } from './persistence-config.js';
import { openRedisPersistence } from './redis-persistence.js';

/**
 * Aedes looks away from two outcomes, and a failure there would end the process. An old will that stays
 * is judged again before it is published; retained messages that cannot be read are not delivered.
 */
function surviveFailures(persistence: AedesPersistence, logger: Logger): void {
  const { delWill, createRetainedStreamCombi } = persistence;
  const report = (error: unknown): void => {
    const detail = error instanceof Error ? error.message : String(error);
    logger.error({ event: 'persistence.failed', detail }, 'the persistence failed');
  };
  persistence.delWill = (will) => delWill.call(persistence, will).catch(report);
  persistence.createRetainedStreamCombi = (filters) =>
    createRetainedStreamCombi.call(persistence, filters).on('error', report);
}

function open(
  config: PersistenceConfig,
  deps: { readonly logger: Logger; readonly load: Load },
): Promise<OpenPersistence> {
  switch (config.type) {
    case 'memory': {
      const nothing = { persistence: undefined, isReady: () => true, close: async () => undefined };
      return Promise.resolve(nothing);
    }
    case 'level':
      return openLevelPersistence(config, deps);
    case 'redis':
      return openRedisPersistence(config, deps);
  }
}

export async function openPersistence(
  config: PersistenceConfig,
  deps: { readonly logger: Logger; readonly load?: Load },
): Promise<OpenPersistence> {
  const { logger, load = loadBesideProgram } = deps;
  const opened = await open(config, { logger, load });
  if (opened.persistence !== undefined) surviveFailures(opened.persistence, logger);
  return opened;
}
