/**
 * What the sender of a refused JWT is told: one message for all, except when the signature verified
 * and only its clock is wrong.
 *
 * Units   seconds.
 * Errors  the one that the caller asks for, `InvalidGrantError` by default.
 * Source  STANDARDS 2.3 step 9 and 6.11.
 *
 * @module
 */
import {
  InvalidGrantError,
  type JwtError,
  type OAuthError,
  type OAuthErrorOptions,
} from '@latchkey/shared';

/** `message` is the one for all; the reason goes to the log. */
export function jwtRefusal(
  error: JwtError,
  message: string,
  Refusal: new (message: string, options: OAuthErrorOptions) => OAuthError = InvalidGrantError,
): OAuthError {
  const options = { detail: `${error.reason}: ${error.message}`, cause: error };
  const offset = error.clockOffsetSeconds;
  if (offset === undefined) return new Refusal(message, options);
  const direction = offset < 0 ? 'behind' : 'ahead';
  return new Refusal(
    `the client's clock differs by about ${Math.abs(offset)} s (it is ${direction})`,
    options,
  );
}
