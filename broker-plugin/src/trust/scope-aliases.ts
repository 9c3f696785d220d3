/**
 * What the scope values of a third party mean here: each one stands for topic scopes of ours.
 *
 * Units   counts.
 * Errors  `FormatError` for aliases that cannot be; `JwtError` with reason `scope` for a claim that
 *         cannot be read, which makes the token invalid rather than weaker.
 * Source  DESIGN 4 (third-party issuers); RFC 6749 3.3, RFC 9068 2.2.3.1.
 *
 * @module
 */
import {
  type ClientId,
  FormatError,
  isTopicScopeLike,
  JwtError,
  MAX_SCOPE_VALUES,
  parseTopicScope,
  parseTopicScopeTemplate,
  type TopicScope,
  type TopicScopeTemplate,
} from '@latchkey/shared';

export type ScopeAliases = ReadonlyMap<string, readonly TopicScopeTemplate[]>;

const MAX_ALIASES = 1000;
const MAX_TEMPLATES = 100;
const MAX_VALUE_LENGTH = 255;
const NO_LABELS: ReadonlyMap<string, string> = new Map();

function parseTemplate(text: string, field: string): TopicScopeTemplate {
  let template: TopicScopeTemplate;
  try {
    template = parseTopicScopeTemplate(text);
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    throw new FormatError(field, `has a ${error.message}`);
  }
  if (template.labels.length === 0) return template;
  throw new FormatError(field, 'uses a label; clients of a third party have none');
}

export function parseScopeAliases(
  aliases: Readonly<Record<string, readonly string[]>>,
  field: string,
): ScopeAliases {
  const entries = Object.entries(aliases);
  if (entries.length > MAX_ALIASES) {
    throw new FormatError(field, `must not have more than ${MAX_ALIASES} aliases`);
  }
  return new Map(
    entries.map(([value, templates]) => {
      if (value.length < 1 || value.length > MAX_VALUE_LENGTH || isTopicScopeLike(value)) {
        throw new FormatError(
          field,
          `must have names of 1 to ${MAX_VALUE_LENGTH} characters that do not look like topic scopes`,
        );
      }
      if (templates.length > MAX_TEMPLATES) {
        throw new FormatError(
          `${field}.${value}`,
          `must not have more than ${MAX_TEMPLATES} scopes`,
        );
      }
      return [value, templates.map((text) => parseTemplate(text, `${field}.${value}`))];
    }),
  );
}

function unreadable(problem: string): never {
  throw new JwtError('scope', `the claim with the scopes ${problem}`);
}

/** The values of a claim that is a scope string or a list of texts; a token may have none. */
function valuesOf(claim: unknown): ReadonlySet<string> {
  let values: readonly unknown[];
  if (claim === undefined) values = [];
  else if (typeof claim === 'string') values = claim.split(' ').filter((value) => value !== '');
  else if (Array.isArray(claim)) values = claim;
  else return unreadable('is neither text nor a list');
  if (values.length > MAX_SCOPE_VALUES) unreadable(`has more than ${MAX_SCOPE_VALUES} values`);
  if (!values.every((value) => typeof value === 'string')) unreadable('holds more than text');
  return new Set(values as readonly string[]);
}

/**
 * The topic scopes that a claim gives to a client. Values that mean nothing here are ignored: they may
 * be meant for others.
 */
export function topicScopesOf(
  claim: unknown,
  {
    clientId,
    aliases,
    acceptTopicScopes,
  }: {
    readonly clientId: ClientId;
    readonly aliases: ScopeAliases;
    /** Whether a value that is a topic scope itself gives what it says. */
    readonly acceptTopicScopes: boolean;
  },
): readonly TopicScope[] {
  const scopes: TopicScope[] = [];
  try {
    for (const value of valuesOf(claim)) {
      if (acceptTopicScopes && isTopicScopeLike(value)) scopes.push(parseTopicScope(value));
      for (const template of aliases.get(value) ?? []) {
        const expansion = template.expand({ clientId, labels: NO_LABELS });
        if (expansion.ok) scopes.push(expansion.scope);
      }
      if (scopes.length > MAX_SCOPE_VALUES)
        unreadable(`gives more than ${MAX_SCOPE_VALUES} rights`);
    }
  } catch (error) {
    if (error instanceof FormatError) return unreadable(`gives a scope that ${error.problem}`);
    throw error;
  }
  return scopes;
}
