/**
 * Sessions in a directory of this machine: aedes-persistence-level, with its defects mended.
 *
 * Units   POSIX modes.
 * Errors  `ConfigError` for a directory that cannot be used, `MissingPackageError`.
 * Source  aedes-persistence-level 9.2.0, level 10.0.0 (the codes of its errors).
 *
 * @module
 */
import { mkdir, stat } from 'node:fs/promises';
import { ConfigError } from '@latchkey/shared';
import type { AedesPersistence, OpenPersistence } from './aedes-persistence.js';
import { createOfflineIndex, type FilterTrie, TRIE_OPTIONS } from './offline-index.js';
import { type Load, loadFrom, loadPackage } from './optional-package.js';
import type { LevelConfig } from './persistence-config.js';

interface Database {
  open(): Promise<void>;
  keys(range: { readonly gte: string; readonly lt: string }): AsyncIterable<string>;
}

const PACKAGE = 'aedes-persistence-level';
const INSTALL = [PACKAGE, 'level'];
const OTHERS = 0o077;
/** Keys are `subscriptions:<client id, percent-encoded>:<filter>`; `;` is the byte behind `:`. */
const SUBSCRIPTION_KEYS = { gte: 'subscriptions:', lt: 'subscriptions;' } as const;

export interface LevelPackages {
  readonly createPersistence: (database: Database) => AedesPersistence;
  readonly Level: new (directory: string) => Database;
  readonly QlobberSub: new (options: typeof TRIE_OPTIONS) => FilterTrie;
}

export function loadLevelPackages(load: Load): LevelPackages {
  const createPersistence = loadPackage<LevelPackages['createPersistence']>(load, PACKAGE, INSTALL);
  const { Level } = loadPackage<Pick<LevelPackages, 'Level'>>(load, 'level', INSTALL);
  const QlobberSub = loadPackage<LevelPackages['QlobberSub']>(
    loadFrom(load, PACKAGE),
    'qlobber/aedes/qlobber-sub',
    INSTALL,
  );
  return { createPersistence, Level, QlobberSub };
}

function refuse(directory: string, message: string): never {
  throw new ConfigError(directory, [{ path: '', message }]);
}

/** Refuses a directory in which others could read messages and filters. */
export async function checkDirectory(directory: string): Promise<void> {
  const { mode } = await stat(directory);
  if ((mode & OTHERS) !== 0)
    refuse(directory, `can be read by others; run: chmod 700 ${directory}`);
}

async function openDatabase(Level: LevelPackages['Level'], directory: string): Promise<Database> {
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await checkDirectory(directory);
    const database = new Level(directory); // begins to open, and to write, by itself
    await database.open();
    return database;
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    const { code, cause } = error as { code?: string; cause?: { code?: string } };
    const why = cause?.code ?? code ?? 'unknown error';
    const isLocked = why === 'LEVEL_LOCKED';
    return refuse(directory, isLocked ? 'is in use by another process' : `cannot be used (${why})`);
  }
}

export async function openLevelPersistence(
  { directory }: LevelConfig,
  { load }: { readonly load: Load },
): Promise<OpenPersistence> {
  const { createPersistence, Level, QlobberSub } = loadLevelPackages(load);
  const database = await openDatabase(Level, directory);
  const persistence = createPersistence(database);
  const index = createOfflineIndex(new QlobberSub(TRIE_OPTIONS));
  const { setup, addSubscriptions, removeSubscriptions, cleanSubscriptions } = persistence;

  const storedClients = async (): Promise<ReadonlySet<string>> => {
    const ids = new Set<string>();
    for await (const key of database.keys(SUBSCRIPTION_KEYS)) {
      ids.add(decodeURIComponent(key.split(':')[1] ?? ''));
    }
    return ids;
  };

  let isOpen = true;
  Object.assign(persistence, {
    setup: async (broker) => {
      await setup.call(persistence, broker);
      for (const id of await storedClients()) {
        index.add(id, await persistence.subscriptionsByClient({ id }));
      }
    },
    addSubscriptions: async ({ id }, filters) => {
      await addSubscriptions.call(persistence, { id }, filters);
      index.add(id, filters);
    },
    removeSubscriptions: async ({ id }, topics) => {
      await removeSubscriptions.call(persistence, { id }, topics);
      index.remove(id, topics);
    },
    cleanSubscriptions: async ({ id }) => {
      const stored = await persistence.subscriptionsByClient({ id });
      await cleanSubscriptions.call(persistence, { id });
      index.remove(
        id,
        stored.map(({ topic }) => topic),
      );
    },
    subscriptionsByTopic: async (topic) => index.match(topic),
  } satisfies Partial<AedesPersistence>);

  return {
    persistence,
    isReady: () => isOpen,
    close: async () => {
      isOpen = false;
      await persistence.destroy();
    },
  };
}
