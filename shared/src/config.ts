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

/** What `value` fails of the schema, in words that name keys and expectations but no values. */
export function problemsOf(issues: readonly v.BaseIssue<unknown>[]): readonly ConfigProblem[] {
  return issues.map((issue) => {
    const path = v.getDotPath(issue) ?? '';
    if (issue.kind === 'schema' && issue.type === 'strict_object' && issue.expected === 'never') {
      return { path, message: 'unknown key' };
    }
    if (issue.kind === 'schema' && issue.received === 'undefined')
      return { path, message: 'is missing' };
    if (issue.kind === 'schema') return { path, message: `must be ${issue.expected}` };
    return { path, message: issue.message };
  });
}

/** Parses `value` with the schema; throws a `ConfigError` that lists every problem. */
export function parseWith<Schema extends v.GenericSchema>(
  schema: Schema,
  value: unknown,
  source: string,
): v.InferOutput<Schema> {
  const result = v.safeParse(schema, value);
  if (!result.success) throw new ConfigError(source, problemsOf(result.issues));
  return result.output;
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
    const [reason] = error.message.split('\n');
    throw new ConfigError(source, [
      { path: `line ${error.line}, column ${error.column}`, message: reason ?? '' },
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
