/**
 * JSON Schema of the valibot schemas that validate requests, for the kinds that this API uses.
 *
 * A parser of ours (`parsedBy`) is a function and says nothing about itself, so the schema beside it
 * carries what it takes as metadata: `v.metadata({ jsonSchema: { pattern } })`.
 *
 * Units   none.
 * Errors  `TypeError` for a kind of schema that is not known here, so that none is left out in silence.
 * Source  JSON Schema 2020-12, which OpenAPI 3.1 uses (OpenAPI 3.1 4.8.24).
 *
 * @module
 */
import * as v from 'valibot';

export type JsonSchema = Readonly<Record<string, unknown>>;

/** Parts of a valibot schema or action that are looked at. */
interface Node {
  readonly kind: 'schema' | 'validation' | 'transformation' | 'metadata';
  readonly type: string;
  readonly pipe?: readonly Node[];
  readonly wrapped?: Node;
  readonly default?: unknown;
  readonly item?: Node;
  readonly value?: Node;
  readonly entries?: Readonly<Record<string, Node>>;
  readonly options?: readonly unknown[];
  readonly literal?: unknown;
  readonly requirement?: unknown;
  readonly description?: string;
  readonly metadata?: { readonly jsonSchema?: JsonSchema };
}

/** Adds what a parser takes to the schema that it stands beside. */
export function documented<Input>(
  jsonSchema: JsonSchema,
): v.MetadataAction<Input, { readonly jsonSchema: JsonSchema }> {
  return v.metadata({ jsonSchema });
}

function objectSchema({ entries = {}, type }: Node): JsonSchema {
  const members = Object.entries(entries);
  const required = members.filter(([, member]) => member.type !== 'optional').map(([name]) => name);
  return {
    type: 'object',
    properties: Object.fromEntries(members.map(([name, member]) => [name, convert(member)])),
    ...(required.length > 0 && { required }),
    ...(type === 'strict_object' && { additionalProperties: false }),
  };
}

function nullable(schema: JsonSchema): JsonSchema {
  return typeof schema.type === 'string'
    ? { ...schema, type: [schema.type, 'null'] }
    : { anyOf: [schema, { type: 'null' }] };
}

function schemaOf(node: Node): JsonSchema {
  switch (node.type) {
    case 'string':
    case 'number':
    case 'boolean':
      return { type: node.type };
    case 'unknown':
      return {};
    case 'array':
      return { type: 'array', items: convert(node.item as Node) };
    case 'object':
    case 'strict_object':
      return objectSchema(node);
    case 'record':
      return { type: 'object', additionalProperties: convert(node.value as Node) };
    case 'optional':
      return {
        ...convert(node.wrapped as Node),
        ...(node.default !== undefined && { default: node.default }),
      };
    case 'nullable':
      return nullable(convert(node.wrapped as Node));
    case 'picklist':
      return { type: 'string', enum: node.options };
    case 'literal':
      return { const: node.literal };
    case 'union':
      return { anyOf: (node.options as readonly Node[]).map(convert) };
    default:
      throw new TypeError(`no JSON Schema for ${node.type}`);
  }
}

function actionOf(
  { kind, type, requirement, description, metadata }: Node,
  of: unknown,
): JsonSchema {
  if (kind === 'transformation') return {};
  const isList = of === 'array';
  switch (type) {
    case 'description':
      return { description };
    case 'metadata':
      return metadata?.jsonSchema ?? {};
    case 'regex':
      return { pattern: (requirement as RegExp).source };
    case 'integer':
      return { type: 'integer' };
    case 'min_value':
      return { minimum: requirement };
    case 'max_value':
      return { maximum: requirement };
    case 'min_length':
      return isList ? { minItems: requirement } : { minLength: requirement };
    case 'max_length':
      return isList ? { maxItems: requirement } : { maxLength: requirement };
    default:
      throw new TypeError(`no JSON Schema for ${type}`);
  }
}

function convert(node: Node): JsonSchema {
  const [first, ...actions] = node.pipe ?? [];
  if (first === undefined) return schemaOf(node);
  let schema = convert(first);
  for (const action of actions) schema = { ...schema, ...actionOf(action, schema.type) };
  return schema;
}

/** What the schema takes, before its transformations. */
export function toJsonSchema(schema: v.GenericSchema): JsonSchema {
  return convert(schema as unknown as Node);
}
