/** The OpenAPI document is well formed, made of the schemas that validate, and true to the answers. */
import { generateKey } from '@latchkey/shared';
import { describe, expect, test } from 'vitest';
import { callApi, chiefOperator, type Method } from '../../helpers/operators.ts';
import {
  addDevice,
  addThermostatRole,
  BROKER,
  openTestAuthority,
  type TestAuthority,
} from '../../helpers/test-authority.ts';

type Schema = Readonly<Record<string, unknown>>;
interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly parameters: readonly { name: string; in: string; required: boolean; schema: Schema }[];
  readonly requestBody?: { content: Record<string, { schema: Schema }> };
  readonly responses: Record<
    string,
    { $ref?: string; content?: Record<string, { schema: Schema }> }
  >;
}
interface Document {
  readonly openapi: string;
  readonly servers: readonly { url: string }[];
  readonly paths: Record<string, Record<string, Operation>>;
  readonly components: { responses: object; schemas: object };
}

const documentOf = async (authority: TestAuthority): Promise<Document> =>
  (await callApi(authority, undefined, ['GET', '/openapi.json'])).body as Document;

const operationsOf = ({ paths }: Document) =>
  Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ path, method, ...operation })),
  );

/** What a value fails of a schema, for the keywords that the document uses. */
function problemsOf(schema: Schema, value: unknown, at = '$'): string[] {
  const known = new Set(
    'type properties required additionalProperties items enum const anyOf pattern minimum maximum minLength maxLength minItems maxItems maxProperties default description format examples'.split(
      ' ',
    ),
  );
  const unknown = Object.keys(schema).filter((keyword) => !known.has(keyword));
  if (unknown.length > 0) return [`${at}: unknown keyword ${unknown}`];
  const typeOf = (v: unknown) =>
    v === null ? 'null' : Array.isArray(v) ? 'array' : Number.isInteger(v) ? 'integer' : typeof v;
  const types = [schema.type ?? []].flat();
  const type = typeOf(value);
  if (
    types.length > 0 &&
    !types.includes(type) &&
    !(type === 'integer' && types.includes('number'))
  ) {
    return [`${at}: ${type} is not ${types}`];
  }
  if (Array.isArray(schema.enum) && !schema.enum.includes(value) && value !== null) {
    return [`${at}: not one of ${schema.enum}`];
  }
  if (type === 'array') {
    const items = (schema.items ?? {}) as Schema;
    return (value as unknown[]).flatMap((item, i) => problemsOf(items, item, `${at}[${i}]`));
  }
  if (type !== 'object') return [];
  const properties = (schema.properties ?? {}) as Record<string, Schema>;
  const members = Object.entries(value as object);
  const missing = ((schema.required ?? []) as string[]).filter(
    (name) => !(name in (value as object)),
  );
  return [
    ...missing.map((name) => `${at}: ${name} is missing`),
    ...members.flatMap(([name, member]) => {
      const own = properties[name];
      if (own !== undefined) return problemsOf(own, member, `${at}.${name}`);
      const rest = schema.additionalProperties;
      if (rest === false) return [`${at}: ${name} is not in the document`];
      return typeof rest === 'object' ? problemsOf(rest as Schema, member, `${at}.${name}`) : [];
    }),
  ];
}

describe('the document', () => {
  test('is OpenAPI 3.1 of this authority, for anybody, and stays inside JSON Schema', async () => {
    const authority = await openTestAuthority({ issuer: 'https://id.example/tenant' });
    const document = await documentOf(authority);
    expect(document.openapi).toMatch(/^3\.1\.\d$/);
    expect(document.servers).toEqual([{ url: 'https://id.example/tenant/api/v1' }]);
    const operations = operationsOf(document);
    expect(new Set(operations.map(({ operationId }) => operationId)).size).toBe(operations.length);
    for (const { path, parameters, responses, summary, requestBody } of operations) {
      expect(summary).not.toBe('');
      const inPath = parameters.filter((parameter) => parameter.in === 'path').map((p) => p.name);
      expect(inPath).toEqual([...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]));
      const names = parameters.map((parameter) => `${parameter.in} ${parameter.name}`);
      expect(new Set(names).size).toBe(names.length);
      expect(Object.keys(responses)).toEqual(expect.arrayContaining(['400', '401', '403']));
      const schemas = [
        ...parameters.map(({ schema }) => schema),
        ...Object.values(requestBody?.content ?? {}).map(({ schema }) => schema),
        ...Object.values(responses).flatMap(({ content }) =>
          Object.values(content ?? {}).map(({ schema }) => schema),
        ),
      ];
      // Finds keywords that are not of JSON Schema; the value itself does not matter.
      for (const schema of schemas) {
        expect(problemsOf(schema, undefined).filter((p) => p.includes('keyword'))).toEqual([]);
      }
    }
  });

  test('has no reference that leads nowhere', async () => {
    const document = await documentOf(await openTestAuthority());
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/([^"]+)"/g)];
    expect(references.length).toBeGreaterThan(10);
    for (const [, path] of references) {
      const target = (path as string)
        .split('/')
        .reduce((node: unknown, name) => (node as Record<string, unknown>)[name], document);
      expect(target).toBeDefined();
    }
  });

  test('tells bounds, patterns and defaults of what is validated', async () => {
    const { paths } = await documentOf(await openTestAuthority());
    const body = paths['/clients']?.post?.requestBody?.content['application/json']?.schema;
    expect(body).toMatchObject({
      type: 'object',
      additionalProperties: false,
      required: ['kind', 'client_id'],
      properties: {
        kind: { enum: ['device', 'service'] },
        client_id: { type: 'string', pattern: '^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$' },
        token_ttl_seconds: { type: 'integer', minimum: 60, maximum: 86_400 },
        may_mint: { type: 'boolean', default: false },
        labels: { type: 'object', additionalProperties: { type: 'string' } },
        roles: { type: 'array', maxItems: 64, default: [] },
      },
    });
    const names = paths['/clients']?.get?.parameters.map(({ name }) => name);
    expect(names).toEqual(['limit', 'after', 'label', 'status', 'role', 'id_prefix', 'kind']);
    const conditional = paths['/clients/{id}']?.patch?.parameters.map(({ name }) => name);
    expect(conditional).toEqual(['id', 'If-Match']);
  });
});

test('answers are as the document says, member by member', async () => {
  const authority = await openTestAuthority();
  await addThermostatRole(authority);
  await addDevice(authority, 't-1');
  const { paths } = await documentOf(authority);
  const chief = chiefOperator(authority);
  const public_key = generateKey().publicKey.jwk;
  const calls: [Method, template: string, path: string, body?: object][] = [
    ['POST', '/services', '/services', { client_id: 's-1' }],
    ['GET', '/clients', '/clients'],
    ['GET', '/devices/{id}', '/devices/t-1'],
    ['PATCH', '/clients/{id}', '/clients/t-1', { token_ttl_seconds: 60 }],
    [
      'POST',
      '/clients/{id}/keys/rotation/start',
      '/clients/t-1/keys/rotation/start',
      { public_key },
    ],
    ['GET', '/clients/{id}/keys', '/clients/t-1/keys'],
    ['POST', '/clients/{id}/secrets', '/clients/s-1/secrets', {}],
    ['POST', '/clients/{id}/secrets/rotation/start', '/clients/s-1/secrets/rotation/start', {}],
    ['GET', '/clients/{id}/secrets', '/clients/s-1/secrets'],
    ['GET', '/services/{id}', '/services/s-1'],
    ['POST', '/clients/{id}/void-tokens', '/clients/t-1/void-tokens', {}],
    ['POST', '/clients/{id}/revoke', '/clients/t-1/revoke', {}],
    ['POST', '/enrollments', '/enrollments', {}],
    ['GET', '/enrollments', '/enrollments'],
    ['POST', '/enrollments/{id}/revoke', '/enrollments/1/revoke', {}],
    ['GET', '/resources', '/resources'],
    ['GET', '/resources/{id}', `/resources/${encodeURIComponent(BROKER)}`],
    ['GET', '/permissions', '/permissions'],
    ['GET', '/roles/{id}', '/roles/thermostat'],
    ['GET', '/explain', '/explain?client_id=s-1&action=publish&topic=a'],
    ['GET', '/fleet/summary', '/fleet/summary?by=site'],
    ['GET', '/signing-keys', '/signing-keys'],
    ['GET', '/audit', '/audit'],
    ['GET', '/audit/state', '/audit/state'],
  ];
  for (const [method, template, path, body] of calls) {
    const answer = await chief.call(method, path, body);
    const documented = paths[template]?.[method.toLowerCase()]?.responses[answer.status];
    const schema = documented?.content?.['application/json']?.schema;
    expect([template, answer.status, schema === undefined]).toEqual([
      template,
      answer.status,
      false,
    ]);
    expect([template, problemsOf(schema as Schema, answer.body)]).toEqual([template, []]);
  }
});
