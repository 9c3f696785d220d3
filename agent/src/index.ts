/** Public surface of `@latchkey/agent`: exports only. */
export * from './daemon.js';
