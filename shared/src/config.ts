/**
 * Checks values from files and requests against a schema, listing all problems at once.
 *
 * Units   none.
 * Errors  `ConfigError` with a dotted path for each problem; values are never echoed.
 * Source  STYLE 2.6.
 *
 * @module
 */
import { parse as parseToml, TomlError } from 'smol-toml';
import * as v from 'valibot';
import { ConfigError, type ConfigProblem, FormatError } from './errors.js';

type Issue = v.BaseIssue<unknown>;

/** valibot's own sentences end in the value received, which may be a secret; ours stay as they are. */
function failedCheck(issue: Issue): string {
  if (!issue.message.endsWith(`eceived ${issue.received}`)) return issue.message;
  const check = issue.type.replaceAll('_', ' ');
  return issue.expected === null
    ? `is not a valid ${check}`
    : `must be ${issue.expected} (${check})`;
}

/** What `value` fails of the schema, in words that name keys and expectations but no values. */
export function problemsOf(issues: readonly Issue[]): readonly ConfigProblem[] {
  return issues.map((issue) => {
    const path = v.getDotPath(issue) ?? '';
    if (isUnknownKey(issue)) return { path, message: 'unknown key' };
    if (issue.kind === 'schema' && issue.received === 'undefined')
      return { path, message: 'is missing' };
    if (issue.kind === 'schema') return { path, message: `must be ${issue.expected}` };
    return { path, message: failedCheck(issue) };
  });
}

/** Bounds the search below: an object with more unknown keys is not a slip of the pen. */
const MAX_UNKNOWN_KEYS = 20;

function isUnknownKey(issue: Issue): boolean {
  return issue.type === 'strict_object' && issue.expected === 'never';
}

/** A copy of the value without the member that the issue's path leads to. */
function without(value: unknown, [item, ...deeper]: readonly v.IssuePathItem[]): unknown {
  const copy = (Array.isArray(value) ? [...value] : { ...Object(value) }) as unknown[];
  const key = item?.key as number;
  if (deeper.length === 0) delete copy[key];
  else copy[key] = without(copy[key], deeper);
  return copy;
}

/**
 * All that is wrong with the value. valibot names only the first unknown key of an object, so each
 * one found is taken away to see the next.
 */
function issuesOf(schema: v.GenericSchema, value: unknown, first: readonly Issue[]): Issue[] {
  const issues = [...first];
  const left = issues.filter(isUnknownKey);
  let rest = value;
  for (let found = left.pop(); found !== undefined; found = left.pop()) {
    rest = without(rest, found.path as readonly v.IssuePathItem[]);
    const known = new Set(issues.map((issue) => v.getDotPath(issue)));
    const next = (v.safeParse(schema, rest).issues ?? []).filter(
      (issue) => isUnknownKey(issue) && !known.has(v.getDotPath(issue)),
    );
    issues.push(...next);
    if (issues.length < MAX_UNKNOWN_KEYS) left.push(...next);
  }
  return issues;
}

/** Parses `value` with the schema; throws a `ConfigError` that lists every problem. */
export function parseWith<Schema extends v.GenericSchema>(
  schema: Schema,
  value: unknown,
  source: string,
): v.InferOutput<Schema> {
  const result = v.safeParse(schema, value);
  if (result.success) return result.output;
  throw new ConfigError(source, problemsOf(issuesOf(schema, value, result.issues)));
}

/** Parses TOML text and checks it; `source` is the file's name for messages. */
export function parseConfigText<Schema extends v.GenericSchema>(
  schema: Schema,
  text: string,
  source: string,
): v.InferOutput<Schema> {
  let value: unknown;
  try {
    value = parseToml(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    // Only the first line: the others quote the file, which may hold a secret.
    const message = error.message.replace(/\n.*$/s, '');
    throw new ConfigError(source, [
      { path: `line ${error.line}, column ${error.column}`, message },
    ]);
  }
  return parseWith(schema, value, source);
}

/** A schema action that runs one of our parsers; its `FormatError` becomes the issue. */
export function parsedBy<Output>(
  parse: (value: string) => Output,
): v.RawTransformAction<string, Output> {
  return v.rawTransform<string, Output>(({ dataset, addIssue, NEVER }) => {
    try {
      return parse(dataset.value);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      addIssue({ message: error.problem });
      return NEVER;
    }
  });
}
