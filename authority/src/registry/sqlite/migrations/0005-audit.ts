/**
 * Migration 5: the audit log.
 *
 * Units   NumericDate.
 * Errors  none.
 * Source  DESIGN 5. Never edit a migration that was released; add the next one.
 *
 * @module
 */
export const audit: string = ``;
