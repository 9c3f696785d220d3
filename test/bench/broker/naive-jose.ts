/**
 * What one writes in an afternoon: jose verifies the token in `authenticate`, and a list of rules is
 * gone through for each message, every rule split again.
 *
 * @module
 */
import type { Aedes, Client } from 'aedes';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import { AUDIENCE, MANY_ALIASES, manyIssuerOf } from './messages.ts';

interface Rule {
  readonly action: string;
  readonly filter: string;
}

function isMatch(filter: string, topic: string): boolean {
  const wanted = filter.split('/');
  const levels = topic.split('/');
  for (let i = 0; i < wanted.length; i += 1) {
    if (wanted[i] === '#') return true;
    if (wanted[i] !== '+' && wanted[i] !== levels[i]) return false;
  }
  return wanted.length === levels.length;
}

const isAllowed = (rules: readonly Rule[] | undefined, action: string, topic: string): boolean =>
  rules?.some((rule) => rule.action.includes(action) && isMatch(rule.filter, topic)) === true;

const rulesOf = (scope: unknown, id: string): readonly Rule[] =>
  String(scope)
    .split(' ')
    .flatMap((value) => MANY_ALIASES[value] ?? [value])
    .map((alias) => {
      const value = alias.replace('{client_id}', id);
      const colon = value.indexOf(':');
      return { action: value.slice(0, colon), filter: value.slice(colon + 1) };
    });

export function decideByJose(aedes: Aedes, issuer: string): void {
  const keys = createRemoteJWKSet(new URL(`${issuer}/jwks`));
  const issuers = [issuer, manyIssuerOf(issuer)];
  const rules = new WeakMap<Client, readonly Rule[]>();
  aedes.authenticate = (client, _username, password, done) => {
    jwtVerify(password?.toString() ?? '', keys, { issuer: issuers, audience: AUDIENCE })
      .then(({ payload }) => {
        rules.set(client, rulesOf(payload.scope, client.id));
        done(null, client.id.endsWith(String(payload.client_id)));
      })
      .catch(() => done(null, false));
  };
  aedes.authorizePublish = (client, { topic }, done) => {
    const isGood = client !== null && isAllowed(rules.get(client), 'pub', topic);
    done(isGood ? null : new Error('not authorized'));
  };
  aedes.authorizeSubscribe = (client, subscription, done) => {
    const isGood = isAllowed(rules.get(client), 'sub', subscription.topic);
    done(null, isGood ? subscription : null);
  };
}
