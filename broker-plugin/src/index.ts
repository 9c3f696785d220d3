/** Public surface of `@latchkey/broker-plugin`: exports only. */
export { createLatchkey, type Latchkey } from './latchkey.js';
export { DEFAULT_LIMITS, type LatchkeyOptions, type Limits } from './options.js';
