/**
 * Lists clients by filters, in the order of ids, each page from an index.
 *
 * SQLite keeps no statistics here, so the query says itself where it starts: at the filter that is
 * likely to leave the fewest. The others are looked up for each row.
 *
 * Units   none.
 * Errors  none.
 * Source  https://sqlite.org/lang_select.html (CROSS JOIN keeps the order), https://sqlite.org/lang_indexedby.html
 *
 * @module
 */
import type { Database, Statement } from 'better-sqlite3';
import type { Client, ClientFilter, Page, PageRequest } from '../registry.js';
import type { ClientReader, ClientRow } from './client-reader.js';
import { pageParameters, toPage } from './pages.js';

type Parameters = Record<string, string | number>;

interface Query {
  readonly sql: string;
  readonly parameters: Parameters;
}

/** Sorts after every character of a client id. */
const AFTER_ALL_IDS = '\x7f';

interface Source {
  /** Table, its index, and what it is joined by. */
  readonly table: string;
  readonly index: string;
  readonly idColumn: string;
  readonly where: string;
}

/** Filters that are tables of their own. */
function sourcesOf({ role, labels = [] }: ClientFilter, parameters: Parameters): Source[] {
  const sources = labels.map(({ key, value }, i): Source => {
    parameters[`key${i}`] = key;
    parameters[`value${i}`] = value;
    return {
      table: `client_label AS l${i}`,
      index: 'client_label_by_value',
      idColumn: `l${i}.client`,
      where: `l${i}.key = @key${i} AND l${i}.value = @value${i}`,
    };
  });
  if (role !== undefined) {
    parameters.role = role;
    sources.push({
      table: 'client_role AS r',
      index: 'client_role_by_role',
      idColumn: 'r.client',
      where: 'r.role = @role',
    });
  }
  return sources;
}

/** The index of `client` itself to start from, if any. */
function clientIndex({ status, kind }: ClientFilter): string {
  if (status !== undefined) return 'INDEXED BY client_by_status';
  return kind === undefined ? '' : 'INDEXED BY client_by_kind';
}

function buildQuery(filter: ClientFilter, page: PageRequest): Query {
  const { kind, status, idPrefix } = filter;
  const { after, limit } = pageParameters(page);
  // One lower bound, since SQLite would seek to either of two and then look at all from there.
  const isPrefixLater = idPrefix !== undefined && idPrefix > after;
  const isFrom = isPrefixLater ? '>= @from' : '> @from';
  const parameters: Parameters = { from: isPrefixLater ? idPrefix : after, limit };
  const sources = sourcesOf(filter, parameters);
  const where = [`c.id ${isFrom}`];
  if (kind !== undefined) where.push('c.kind = @kind');
  if (status !== undefined) where.push('c.status = @status');
  if (idPrefix !== undefined) where.push('c.id < @prefixEnd');
  Object.assign(
    parameters,
    kind && { kind },
    status && { status },
    idPrefix !== undefined && { prefixEnd: `${idPrefix}${AFTER_ALL_IDS}` },
  );
  // Few clients are suspended or revoked, so that is the better start than a label of many.
  const [first, ...others] = status !== undefined && status !== 'active' ? [] : sources;
  const joined = first === undefined ? sources : others;
  const from =
    first === undefined
      ? `client AS c ${clientIndex(filter)}`
      : `${first.table} INDEXED BY ${first.index} CROSS JOIN client AS c ON c.id = ${first.idColumn}`;
  if (first !== undefined) where.push(first.where, `${first.idColumn} ${isFrom}`);
  const joins = joined.map(
    ({ table, idColumn, where: on }) => `CROSS JOIN ${table} ON ${idColumn} = c.id AND ${on}`,
  );
  const order = first?.idColumn ?? 'c.id';
  return {
    sql: `SELECT c.* FROM ${from} ${joins.join(' ')} WHERE ${where.join(' AND ')}
           ORDER BY ${order} LIMIT @limit`,
    parameters,
  };
}

export function createClientList(deps: {
  readonly db: Database;
  readonly reader: ClientReader;
}): (filter: ClientFilter, page: PageRequest) => Page<Client> {
  const { db, reader } = deps;
  // One statement for each combination of filters; the API bounds the labels, and so their number.
  const statements = new Map<string, Statement<Parameters, ClientRow>>();
  return (filter, page) => {
    const { sql, parameters } = buildQuery(filter, page);
    const statement = statements.get(sql) ?? db.prepare<Parameters, ClientRow>(sql);
    statements.set(sql, statement);
    return toPage(statement.all(parameters), page.limit, reader.toClient, ({ id }) => id);
  };
}
