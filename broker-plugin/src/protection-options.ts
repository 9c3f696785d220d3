/**
 * How often one address may connect and fail, and where from nobody counts.
 *
 * Units   seconds as the names say.
 * Errors  `RangeError` for a number, `FormatError` for an address.
 * Source  DESIGN 9 (I11).
 *
 * @module
 */
import { parseNetwork } from '@latchkey/shared';

export interface ProtectionOptions {
  /** Connections of one address in a second, when it keeps on. IPv6: of one /64. Default 100. */
  readonly connectionsPerSecond: number;
  /** Connections of one address at a stroke. Default 1,000. */
  readonly connectionBurst: number;
  /** Refused CONNECTs with one client id from one address that bring a ban. Default 10. */
  readonly failuresPerClient: number;
  /** Refused CONNECTs and broken connections of one address that bring a ban. Default 100. */
  readonly failuresPerAddress: number;
  /** In this time as many failures as bring a ban are forgiven, one after the other. Default 60. */
  readonly failureWindowSeconds: number;
  /** The first ban is 1 s, each that follows twice as long, up to this. Default 900. */
  readonly longestBanSeconds: number;
  /**
   * Addresses and networks that are not counted: a proxy or load balancer, behind which all have one
   * address. Default: this machine. `0.0.0.0/0` and `::/0` turn the protection off.
   */
  readonly exemptAddresses: readonly string[];
}

export const DEFAULT_PROTECTION: ProtectionOptions = Object.freeze({
  connectionsPerSecond: 100,
  connectionBurst: 1000,
  failuresPerClient: 10,
  failuresPerAddress: 100,
  failureWindowSeconds: 60,
  longestBanSeconds: 900,
  exemptAddresses: Object.freeze(['127.0.0.0/8', '::1']),
});

/** Highest value of each number; the lowest is 1. */
export const PROTECTION_BOUNDS: Readonly<
  Record<Exclude<keyof ProtectionOptions, 'exemptAddresses'>, number>
> = Object.freeze({
  connectionsPerSecond: 1_000_000,
  connectionBurst: 1_000_000,
  failuresPerClient: 1_000_000,
  failuresPerAddress: 1_000_000,
  failureWindowSeconds: 86_400,
  longestBanSeconds: 86_400,
});

/** Fills in the defaults and checks the bounds. */
export function resolveProtection(options: Partial<ProtectionOptions> = {}): ProtectionOptions {
  const resolved = { ...DEFAULT_PROTECTION, ...options };
  for (const name of Object.keys(PROTECTION_BOUNDS) as (keyof typeof PROTECTION_BOUNDS)[]) {
    const value = resolved[name];
    const most = PROTECTION_BOUNDS[name];
    if (!Number.isInteger(value) || value < 1 || value > most) {
      throw new RangeError(`protection.${name} must be an integer from 1 to ${most}`);
    }
  }
  for (const network of resolved.exemptAddresses) {
    parseNetwork(network, 'protection.exemptAddresses');
  }
  return Object.freeze(resolved);
}
