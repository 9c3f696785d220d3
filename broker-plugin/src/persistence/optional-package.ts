/**
 * Loads a package that only some configurations need.
 *
 * Units   none.
 * Errors  `MissingPackageError` with the command that installs it.
 * Source  npm documentation, `peerDependenciesMeta.optional`.
 *
 * @module
 */
import { createRequire } from 'node:module';

/** Finds a package as the program itself would: `require` of its module system. */
export type Load = NodeJS.Require;

export const loadBesideProgram: Load = createRequire(import.meta.url);

/** A package that the configuration needs is not installed. */
export class MissingPackageError extends Error {
  constructor(name: string, install: readonly string[], options: { readonly cause: unknown }) {
    super(`the package ${name} is not installed; run: npm install ${install.join(' ')}`, options);
    this.name = 'MissingPackageError';
  }
}

/** `install`: what to give to `npm install` when it is missing. */
export function loadPackage<Exports>(
  load: Load,
  name: string,
  install: readonly string[],
): Exports {
  try {
    return load(name) as Exports;
  } catch (cause) {
    const { code, requireStack } = cause as NodeJS.ErrnoException & { requireStack?: string[] };
    // A package that is there and misses one of its own is broken in another way.
    const isItself = code === 'MODULE_NOT_FOUND' && (requireStack?.length ?? 0) <= 1;
    if (!isItself) throw cause;
    throw new MissingPackageError(name, install, { cause });
  }
}

/** Loads what a loaded package itself depends on. */
export function loadFrom(load: Load, name: string): Load {
  return createRequire(load.resolve(name));
}
