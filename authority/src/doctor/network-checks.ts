/**
 * What `latchkey doctor` asks an authority and its brokers over the network.
 *
 * Units   seconds.
 * Errors  none: what a check throws becomes its finding.
 * Source  RFC 8414; RFC 9110 6.6.1 (Date).
 *
 * @module
 */
import {
  type Clock,
  discover,
  type HttpClient,
  type Issuer,
  parseHttpDate,
  UnreachableError,
} from '@latchkey/shared';
import * as v from 'valibot';
import { type Finding, fail, findingOf, ok, warn } from './finding.js';

/** Beyond it assertions begin to be refused. */
const WRONG_CLOCK_SECONDS = 30;
const DRIFTING_CLOCK_SECONDS = 2;
/** A feed is answered at least every half minute. */
const OLD_FEED_SECONDS = 120;

const jwksSchema = v.object({ keys: v.array(v.looseObject({ kid: v.string() })) });

async function get(http: HttpClient, url: string) {
  const response = await http.request({ method: 'GET', url });
  if (response.status !== 200) throw new UnreachableError(`${url} answered ${response.status}`);
  return response;
}

function keysIn(body: string, url: string): readonly string[] {
  try {
    return v.parse(jwksSchema, JSON.parse(body)).keys.map(({ kid }) => kid);
  } catch {
    throw new UnreachableError(`${url} is not a JWK set`);
  }
}

/** Metadata, keys and clock of the authority, as devices see them. */
export async function checkAuthority(options: {
  readonly issuer: Issuer;
  readonly http: HttpClient;
  readonly clock: Clock;
  /** Keys that sign now, when they are known. */
  readonly activeKids?: readonly string[] | undefined;
}): Promise<readonly Finding[]> {
  const { issuer, http, clock, activeKids = [] } = options;
  let jwksUri: string | undefined;
  const reachable = await findingOf('authority', async () => {
    jwksUri = (await discover(http, issuer)).jwks_uri;
    return ok('authority', `${issuer} answers`);
  });
  if (jwksUri === undefined) {
    const remedy = 'start the service, or mend name, proxy or certificate of the issuer';
    return [{ ...reachable, remedy }];
  }
  const url = jwksUri;
  let date: string | undefined;
  const keys = await findingOf('JWKS', async () => {
    const { body, headers } = await get(http, url);
    date = typeof headers.date === 'string' ? headers.date : undefined;
    const kids = keysIn(body, url);
    const missing = activeKids.find((kid) => !kids.includes(kid));
    if (missing === undefined && kids.length > 0) return ok('JWKS', `${kids.length} keys`);
    const message = missing === undefined ? 'has no key' : `lacks ${missing}, which signs`;
    return fail('JWKS', message, 'let no cache keep the JWKS for longer than it says');
  });
  return [reachable, keys, clockFinding(date, clock)];
}

function clockFinding(date: string | undefined, clock: Clock): Finding {
  const check = 'clock of the authority';
  const there = parseHttpDate(date);
  if (there === undefined) {
    return warn(check, 'is not told', 'let the proxy pass on the Date header');
  }
  const off = Math.abs(there - clock.now());
  const message = `differs by ${off} s from this one`;
  const remedy = 'let both machines follow a time server (timedatectl set-ntp true)';
  if (off > WRONG_CLOCK_SECONDS) return fail(check, message, remedy);
  return off > DRIFTING_CLOCK_SECONDS ? warn(check, message, remedy) : ok(check, message);
}

/** Age of the trust feed at a broker. `url`: of its monitor, such as `http://127.0.0.1:9401`. */
export function checkBroker(url: string, http: HttpClient): Promise<Finding> {
  const check = `feed at ${url}`;
  return findingOf(check, async () => {
    const { body } = await get(http, new URL('/metrics', url).href);
    const age = Number(/^latchkey_feed_age_seconds ([0-9.e+]+)$/m.exec(body)?.[1] ?? Number.NaN);
    if (Number.isNaN(age)) {
      return fail(
        check,
        'is not followed',
        'set state_file and [feed] in the settings of the broker',
      );
    }
    const message = `was verified ${Math.round(age)} s ago`;
    const remedy = 'see the log of the broker for feed.failed';
    return age > OLD_FEED_SECONDS ? fail(check, message, remedy) : ok(check, message);
  });
}
