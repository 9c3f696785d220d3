/**
 * Composes our hooks with those of the host: deny wins, whatever the order and whatever they throw.
 *
 * Aedes has one function for each hook and the last assignment wins, so a host that sets a hook
 * after `install` would silently take ours away. Here an assignment sets the inner hook instead.
 *
 * Units   none.
 * Errors  none escape: an exception or a rejected promise in a hook would end the host's process.
 * Source  STANDARDS 5.2 (exceptions, double callbacks, composition), 6 (18, 31).
 *
 * @module
 */
import type { Aedes, Compose, HookName, Hooks } from './aedes-types.js';

export function composeHook<Name extends HookName>(
  broker: Aedes,
  name: Name,
  compose: Compose<Name>,
): void {
  let current: Hooks[Name] = compose(broker[name]);
  Object.defineProperty(broker, name, {
    configurable: false,
    enumerable: true,
    get: () => current,
    set: (host: Hooks[Name]) => {
      current = compose(host);
    },
  });
}

export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error('something that is no error was thrown');
}

/** Lets the first call through and drops the others: a second one would answer the client twice. */
export function once<Arguments extends unknown[]>(
  callback: (...values: Arguments) => void,
): (...values: Arguments) => void {
  let isCalled = false;
  return (...values) => {
    if (isCalled) return;
    isCalled = true;
    callback(...values);
  };
}

/** Runs code of the host; what it throws, or rejects with, goes to `onFailure`. */
export function runHost(run: () => unknown, onFailure: (error: Error) => void): void {
  try {
    const result = run();
    if (typeof (result as PromiseLike<unknown> | undefined)?.then === 'function') {
      (result as PromiseLike<unknown>).then(undefined, (error) => onFailure(asError(error)));
    }
  } catch (error) {
    onFailure(asError(error));
  }
}
