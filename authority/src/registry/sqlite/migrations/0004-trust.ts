/**
 * Migration 4: the sequence of changes that the trust feed tells, and the states of signing keys.
 *
 * Units   NumericDate.
 * Errors  none.
 * Source  DESIGN 5. Never edit a migration that was released; add the next one.
 *
 * @module
 */
export const trust: string = ``;
