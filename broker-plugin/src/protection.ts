/**
 * Keeps addresses that connect or fail too often from using the broker up.
 *
 * Connections are counted for each address before a byte is read. Failures are counted for each
 * address, and for each address together with the client id that it claims: never for a client id
 * alone, since everybody can claim any, and a stranger could shut out a device by failing in its
 * name. Who is banned is refused before a signature is verified. Who shows a token that was verified
 * before is not banned: a neighbour behind the same address translation who fails and fails, keeps
 * no session from coming back.
 *
 * An address that is not known (a stream that is no socket) or that is exempt is not counted.
 *
 * Units   seconds and milliseconds as the names say.
 * Errors  `RangeError` and `FormatError` for an option; `BannedError` for a CONNECT.
 * Source  DESIGN 9 (I1, I7, I11); STANDARDS 5.4, 6 (18).
 *
 * @module
 */
import {
  addressKey,
  type Clock,
  createNetworkMatcher,
  createRateLimiter,
  type Logger,
  plainAddress,
  UnavailableError,
} from '@latchkey/shared';
import { createFailureBans } from './failure-bans.js';
import type { Notify } from './notices.js';
import type { ProtectionOptions } from './protection-options.js';

/** Refused unread: the client may come back later, so MQTT 3.1.1 is told "server unavailable". */
export class BannedError extends UnavailableError {
  constructor(options?: { readonly cause: unknown }) {
    super('too many refused connections', { detail: 'banned', ...options });
  }
}

/** Where a CONNECT comes from, and who it says it is. */
export interface Claimant {
  /** Of the socket; `undefined` when it has none. */
  readonly address: string | undefined;
  /** As the CONNECT has it; `undefined` when it is nobody's, or there is no CONNECT. */
  readonly clientId: string | undefined;
}

export interface Protection {
  /** Counts a new connection. `false`: the address has too many, end it. */
  takeConnection(address: string | undefined): boolean;
  /** Whether nothing is verified for the claimant now. */
  isBanned(claimant: Claimant): boolean;
  countFailure(claimant: Claimant): void;
  /** Forgives the client id at this address, and not the address. */
  countSuccess(claimant: Claimant): void;
}

const FIRST_BAN_MS = 1000;
/** Of each kind of ban. When everything is full it is about 25 MB. */
const MAX_KEYS = 20_000;
/** The log names an address that connects too often once in this time. */
const TELL_AGAIN_SECONDS = 60;
const MAX_TOLD = 1000;

export function createProtection(deps: {
  readonly options: ProtectionOptions;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly notify: Notify;
}): Protection {
  const { options, clock, logger, notify } = deps;
  const isExempt = createNetworkMatcher(options.exemptAddresses);
  const connections = createRateLimiter(
    { perSecond: options.connectionsPerSecond, burst: options.connectionBurst },
    { clock },
  );
  const told = createRateLimiter(
    { perSecond: 1 / TELL_AGAIN_SECONDS, burst: 1 },
    { clock, maxBuckets: MAX_TOLD },
  );
  const bansAfter = (failures: number) =>
    createFailureBans(
      {
        failures,
        windowMs: options.failureWindowSeconds * 1000,
        firstBanMs: FIRST_BAN_MS,
        longestBanMs: options.longestBanSeconds * 1000,
      },
      { clock, maxKeys: MAX_KEYS },
    );
  const addresses = bansAfter(options.failuresPerAddress);
  const clients = bansAfter(options.failuresPerClient);

  let isUncountedTold = false;
  /** Most likely a WebSocket whose handshake `guard` was not given, which the owner should hear of. */
  const tellUncounted = (): void => {
    if (isUncountedTold) return;
    isUncountedTold = true;
    const detail = 'a WebSocket stream has none: give guard the request of its handshake';
    logger.info({ event: 'connect.uncounted', detail }, 'connections without address, not counted');
  };

  /** What an address is counted under; `undefined`: it is not. */
  const keyOf = (address: string | undefined): string | undefined =>
    address === undefined || isExempt(address) ? undefined : addressKey(address);

  // A client id has no blank in it.
  const clientKey = (key: string, clientId: string): string => `${clientId} ${key}`;

  const tellBan = (banMs: number, reason: 'address' | 'client', claimant: Claimant): void => {
    if (banMs === 0) return;
    const address = plainAddress(claimant.address ?? '');
    const mqttClientId = reason === 'client' ? claimant.clientId : undefined;
    const banSeconds = banMs / 1000;
    const fields = { event: 'connect.banned', reason, address, mqttClientId, banSeconds };
    logger.warn(fields, 'banned after too many refused connections');
    notify('banned', { reason, address, mqttClientId, banSeconds });
  };

  return {
    takeConnection: (address) => {
      if (address === undefined) tellUncounted();
      const key = keyOf(address);
      if (key === undefined || connections.take(key) === 0) return true;
      const reason = 'connection-rate';
      if (told.take(key) === 0) {
        logger.warn({ event: 'connect.refused', reason, address }, 'connections refused');
      }
      notify('connect-refused', {
        mqttClientId: undefined,
        reason,
        returnCode: undefined,
        address,
      });
      return false;
    },
    isBanned: ({ address, clientId }) => {
      const key = keyOf(address);
      if (key === undefined) return false;
      if (addresses.isBanned(key)) return true;
      return clientId !== undefined && clients.isBanned(clientKey(key, clientId));
    },
    countFailure: (claimant) => {
      const key = keyOf(claimant.address);
      if (key === undefined) return;
      const { clientId } = claimant;
      tellBan(addresses.fail(key), 'address', claimant);
      if (clientId === undefined) return;
      tellBan(clients.fail(clientKey(key, clientId)), 'client', claimant);
    },
    countSuccess: ({ address, clientId }) => {
      const key = keyOf(address);
      if (key !== undefined && clientId !== undefined) clients.forgive(clientKey(key, clientId));
    },
  };
}
