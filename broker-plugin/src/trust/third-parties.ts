/**
 * The other authorization servers whose tokens are accepted: for each its keys and its verifier, and
 * for all of them their shares of the client ids.
 *
 * Units   none.
 * Errors  `FormatError` for an option, its field beginning with `third_party_issuer` and its index.
 * Source  DESIGN 4 (third-party issuers), 9 (I7).
 *
 * @module
 */
import {
  type Clock,
  FormatError,
  type HttpClient,
  type Issuer,
  type Logger,
} from '@latchkey/shared';
import type { CompileRights } from '../rights-compiler.js';
import type { TokenVerifier } from '../verify-token.js';
import { type ClientNamespaces, createClientNamespaces } from './client-namespaces.js';
import { createIssuerKeys, type IssuerKeys } from './jwks.js';
import type { KeyCopies } from './key-copies.js';
import { createKeySetDiscovery } from './key-set-discovery.js';
import {
  checkIssuers,
  parseThirdPartyIssuer,
  type ThirdPartyIssuer,
  type ThirdPartyIssuerOptions,
} from './third-party-issuer.js';
import { createThirdPartyTokens } from './third-party-token.js';

export interface ThirdParties {
  readonly verifiers: readonly TokenVerifier[];
  readonly namespaces: ClientNamespaces;
  /** By issuer. */
  readonly keys: ReadonlyMap<string, IssuerKeys>;
}

const FIELD = 'third_party_issuer';

/** Checks all of them, one by one and together; pure. */
export function parseThirdParties(
  options: readonly ThirdPartyIssuerOptions[],
  own: { readonly issuer: Issuer | undefined; readonly audience: string },
): { readonly issuers: readonly ThirdPartyIssuer[]; readonly namespaces: ClientNamespaces } {
  const issuers = options.map((one, index) => {
    try {
      return parseThirdPartyIssuer(one, own.audience);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      throw new FormatError(`${FIELD}.${index}.${error.field}`, error.problem);
    }
  });
  checkIssuers(issuers, own.issuer, FIELD);
  const hasOwnAuthority = own.issuer !== undefined;
  return { issuers, namespaces: createClientNamespaces(issuers, { hasOwnAuthority }, FIELD) };
}

export function createThirdParties(
  options: readonly ThirdPartyIssuerOptions[],
  deps: {
    readonly own: { readonly issuer: Issuer | undefined; readonly audience: string };
    /** With the certificate authorities to trust, or with the system's. */
    readonly createHttp: (ca: string | undefined) => HttpClient;
    readonly clock: Clock;
    readonly compileRights: CompileRights;
    readonly logger: Logger;
    readonly onKeyRemoved: () => void;
    /** Where their keys are kept for the next start. */
    readonly copies?: KeyCopies | undefined;
  },
): ThirdParties {
  const { own, createHttp, clock, compileRights, logger, onKeyRemoved, copies } = deps;
  const { issuers, namespaces } = parseThirdParties(options, own);
  const keys = new Map<string, IssuerKeys>();
  const verifiers = issuers.map((thirdParty) => {
    const { issuer, algorithms, jwksUri, ca } = thirdParty;
    const http = createHttp(ca);
    const issuerKeys = createIssuerKeys({
      ...{ issuer, algorithms, http, clock, logger, onKeyRemoved, copies },
      locate: jwksUri === undefined ? createKeySetDiscovery(http, issuer) : async () => jwksUri,
    });
    keys.set(issuer, issuerKeys);
    const { findKey } = issuerKeys;
    return createThirdPartyTokens({ thirdParty, clock, compileRights, findKey });
  });
  return { verifiers, namespaces, keys };
}
