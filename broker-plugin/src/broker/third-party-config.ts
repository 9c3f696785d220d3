/**
 * `[[third_party_issuer]]` of the configuration: names as in a file, checked as the plugin checks them.
 *
 * Units   seconds.
 * Errors  issues of the schema, and what `parseThirdParties` throws.
 * Source  STYLE 2.6; `broker.example.toml` shows every option with its default.
 *
 * @module
 */
import {
  FormatError,
  type Issuer,
  THIRD_PARTY_TOKEN_TYPES,
  TOKEN_MAX_LIFETIME_SECONDS,
  VERIFYING_ALGORITHMS,
} from '@latchkey/shared';
import * as v from 'valibot';
import { parseThirdParties } from '../trust/third-parties.js';
import type { ThirdPartyIssuerOptions } from '../trust/third-party-issuer.js';

export interface ThirdPartyConfig extends Omit<ThirdPartyIssuerOptions, 'ca'> {
  /** PEM of the certificate authorities that are trusted for it; `undefined`: the system's. */
  readonly caFile: string | undefined;
}

const text = v.string();
const claimPath = v.union([text, v.array(text)], 'must be a name, or a list of names');

const fileSchema = v.strictObject({
  name: text,
  issuer: text,
  jwks_uri: v.optional(text),
  ca_file: v.optional(v.pipe(text, v.nonEmpty('must not be empty'))),
  audience: v.optional(text),
  algorithms: v.array(v.picklist(VERIFYING_ALGORITHMS)),
  types: v.optional(v.array(v.picklist(THIRD_PARTY_TOKEN_TYPES)), ['at+jwt']),
  scope_claim: v.optional(claimPath, 'scope'),
  client_id_claim: v.optional(claimPath, 'client_id'),
  client_id_prefix: v.optional(text),
  accept_topic_scopes: v.optional(v.boolean(), false),
  max_token_lifetime_seconds: v.optional(v.number(), TOKEN_MAX_LIFETIME_SECONDS),
  scope_aliases: v.optional(v.record(text, v.array(text)), {}),
  required_claims: v.optional(v.record(text, text), {}),
});

function thirdPartyConfig(entry: v.InferOutput<typeof fileSchema>): ThirdPartyConfig {
  return {
    name: entry.name,
    issuer: entry.issuer,
    jwksUri: entry.jwks_uri,
    caFile: entry.ca_file,
    audience: entry.audience,
    algorithms: entry.algorithms,
    types: entry.types,
    scopeClaim: entry.scope_claim,
    clientIdClaim: entry.client_id_claim,
    clientIdPrefix: entry.client_id_prefix,
    acceptTopicScopes: entry.accept_topic_scopes,
    maxTokenLifetimeSeconds: entry.max_token_lifetime_seconds,
    scopeAliases: entry.scope_aliases,
    requiredClaims: entry.required_claims,
  };
}

export const thirdPartySchema: v.GenericSchema<unknown, ThirdPartyConfig> = v.pipe(
  fileSchema,
  v.transform(thirdPartyConfig),
);

/** The part of a file that says who is trusted. */
interface Trusted {
  readonly issuer?: Issuer | undefined;
  readonly audience: string;
  readonly third_party_issuer: readonly ThirdPartyConfig[];
}

/** What the schema of one entry cannot tell: grammars, and what two entries are to each other. */
export function checkIssuers<Config extends Trusted>(): v.RawCheckAction<Config> {
  return v.rawCheck(({ dataset, addIssue }) => {
    if (!dataset.typed) return;
    const { issuer, audience, third_party_issuer: entries } = dataset.value;
    const addProblem = (field: string, message: string): void => {
      const place = { type: 'object', origin: 'value', input: {}, value: undefined } as const;
      const path = field.split('.').map((key) => ({ ...place, key }));
      addIssue({ message, path: path as unknown as [v.IssuePathItem, ...v.IssuePathItem[]] });
    };
    if (issuer === undefined && entries.length === 0) {
      addProblem('issuer', 'is missing, and so is any third_party_issuer');
    }
    try {
      parseThirdParties(entries, { issuer, audience });
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      addProblem(error.field, error.problem);
    }
  });
}
