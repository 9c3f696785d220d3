/**
 * What the agent does after a failure: the table of STYLE 2.5, as one pure function.
 *
 * Units   seconds.
 * Errors  none; it judges them. An error that is not in the table is a bug and is thrown again.
 * Source  STANDARDS 4.4 (agent reactions); RFC 6749 5.2.
 *
 * @module
 */
import { type NumericDate, TokenRequestError, UnreachableError } from '@latchkey/shared';
import { ConnectRefusedError, OfflineError } from './mqtt-errors.js';

export type Reaction =
  | {
      readonly kind: 'retry';
      readonly pace: 'at-once' | 'network' | 'operator';
      readonly discardsToken: boolean;
      readonly detail: string;
    }
  | { readonly kind: 'stop'; readonly detail: string };

export interface FailureContext {
  readonly now: NumericDate;
  /** Whether a new token was already obtained because the broker refused the one before. */
  readonly hasReplacedToken: boolean;
}

/** A difference to the authority's clock that explains a refused assertion. */
const NOTABLE_OFFSET_SECONDS = 60;

const ADVICE = new Map([
  [
    'invalid_grant',
    'ask the operator whether this device is suspended, revoked, or enrolled with another key',
  ],
  ['invalid_target', 'check broker.resource, and that a role gives this device rights there'],
  ['invalid_scope', 'check the scope, and that a role gives this device these rights'],
  ['unauthorized_client', 'ask the operator to allow this device the jwt-bearer grant'],
]);

function adviceOn(error: TokenRequestError, now: NumericDate): string {
  const offset = error.serverDate === undefined ? 0 : now - error.serverDate;
  if (error.error === 'invalid_grant' && Math.abs(offset) >= NOTABLE_OFFSET_SECONDS) {
    const way = offset > 0 ? 'ahead of' : 'behind';
    return `set the clock: it is ${Math.abs(offset)} s ${way} that of the authority`;
  }
  return ADVICE.get(error.error) ?? 'ask the operator; the log of the authority says more';
}

function afterConnack(error: ConnectRefusedError, hasReplacedToken: boolean): Reaction {
  const detail = error.message;
  switch (error.returnCode) {
    case 1:
    case 2:
      return { kind: 'stop', detail: `${detail}; this broker cannot be used with this client id` };
    case 4:
      // The token is bad: one try with a new one at once, for it may have been revoked or outdated.
      return {
        kind: 'retry',
        pace: hasReplacedToken ? 'network' : 'at-once',
        discardsToken: true,
        detail,
      };
    case 5:
      // The token is good and not for this: rights may have changed, but asking often is no use.
      return {
        kind: 'retry',
        pace: hasReplacedToken ? 'operator' : 'at-once',
        discardsToken: true,
        detail: hasReplacedToken
          ? `${detail}; check broker.resource and the rights of this device`
          : detail,
      };
    default:
      return { kind: 'retry', pace: 'network', discardsToken: false, detail };
  }
}

export function reactTo(error: unknown, { now, hasReplacedToken }: FailureContext): Reaction {
  if (error instanceof ConnectRefusedError) return afterConnack(error, hasReplacedToken);
  if (error instanceof TokenRequestError) {
    const detail = `no token: ${error.message}; ${adviceOn(error, now)}`;
    return { kind: 'retry', pace: 'operator', discardsToken: false, detail };
  }
  if (error instanceof UnreachableError || error instanceof OfflineError) {
    return { kind: 'retry', pace: 'network', discardsToken: false, detail: error.message };
  }
  throw error;
}
