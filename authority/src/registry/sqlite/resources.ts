/**
 * Resources in SQLite: what tokens are for.
 *
 * Units   NumericDate; `token_ttl_seconds` in seconds.
 * Errors  `ConflictError` for an identifier that is taken or in use, `MissingError`, `VersionError`.
 * Source  DESIGN 4 and 5; RFC 8707 2.
 *
 * @module
 */
import type { Clock, ResourceId, TokenAlgorithm } from '@latchkey/shared';
import type { Database } from 'better-sqlite3';
import { type Condition, MissingError, type ResourcePatch } from '../lifecycle.js';
import {
  ConflictError,
  type NewResource,
  type Page,
  type PageRequest,
  type Resource,
  type ResourceKind,
  type ResourceOptions,
} from '../registry.js';
import { checkVersion } from './condition.js';
import { pageParameters, toPage } from './pages.js';

export interface Resources {
  create(resource: NewResource): Resource;
  resource(identifier: ResourceId): Resource | undefined;
  list(page: PageRequest): Page<Resource>;
  patch(identifier: ResourceId, patch: ResourcePatch, condition?: Condition): Resource;
  remove(identifier: ResourceId, condition?: Condition): void;
}

/** Columns that `ResourceOptions` are kept in. */
export interface OptionColumns {
  readonly signing_alg: TokenAlgorithm;
  readonly narrows_scope: number;
  readonly has_legacy_claims: number;
}

interface Row extends OptionColumns {
  readonly identifier: ResourceId;
  readonly kind: ResourceKind;
  readonly token_ttl_seconds: number;
  readonly created_at: number;
  readonly version: number;
}

export const toOptions = (row: OptionColumns): ResourceOptions => ({
  signingAlg: row.signing_alg,
  narrowsScope: row.narrows_scope === 1,
  hasLegacyClaims: row.has_legacy_claims === 1,
});

const toResource = (row: Row): Resource => ({
  identifier: row.identifier,
  kind: row.kind,
  tokenTtlSeconds: row.token_ttl_seconds,
  ...toOptions(row),
  createdAt: row.created_at,
  version: row.version,
});

const toColumns = (options: ResourceOptions & { readonly tokenTtlSeconds: number }) => ({
  token_ttl_seconds: options.tokenTtlSeconds,
  signing_alg: options.signingAlg,
  narrows_scope: Number(options.narrowsScope),
  has_legacy_claims: Number(options.hasLegacyClaims),
});

export const DEFAULT_OPTIONS: ResourceOptions = {
  signingAlg: 'EdDSA',
  narrowsScope: false,
  hasLegacyClaims: false,
};

export function createResources({ db, clock }: { db: Database; clock: Clock }): Resources {
  const insert = db.prepare<Omit<Row, 'version'>>(
    `INSERT INTO resource (identifier, kind, token_ttl_seconds, signing_alg, narrows_scope,
                           has_legacy_claims, created_at)
     VALUES (@identifier, @kind, @token_ttl_seconds, @signing_alg, @narrows_scope,
             @has_legacy_claims, @created_at) ON CONFLICT DO NOTHING`,
  );
  const select = db.prepare<[string], Row>('SELECT * FROM resource WHERE identifier = ?');
  const selectPage = db.prepare<{ after: string; limit: number }, Row>(
    'SELECT * FROM resource WHERE identifier > @after ORDER BY identifier LIMIT @limit',
  );
  const update = db.prepare<Omit<Row, 'kind' | 'created_at' | 'version'>>(
    `UPDATE resource SET token_ttl_seconds = @token_ttl_seconds, signing_alg = @signing_alg,
            narrows_scope = @narrows_scope, has_legacy_claims = @has_legacy_claims,
            version = version + 1
      WHERE identifier = @identifier`,
  );
  const selectUser = db.prepare<[string], { readonly name: string }>(
    'SELECT name FROM permission WHERE resource = ? ORDER BY name LIMIT 1',
  );
  const deleteRow = db.prepare<[string]>('DELETE FROM resource WHERE identifier = ?');

  const resource = (identifier: ResourceId): Resource | undefined => {
    const row = select.get(identifier);
    return row && toResource(row);
  };

  const checked = (identifier: ResourceId, condition: Condition | undefined): Resource => {
    const found = resource(identifier);
    if (found === undefined) throw new MissingError('resource');
    checkVersion(found.version, condition);
    return found;
  };

  const create = db.transaction(
    ({ identifier, kind, tokenTtlSeconds, ...options }: NewResource): Resource => {
      const columns = toColumns({ ...DEFAULT_OPTIONS, ...options, tokenTtlSeconds });
      const { changes } = insert.run({ identifier, kind, ...columns, created_at: clock.now() });
      if (changes === 0) throw new ConflictError('identifier', 'is taken');
      return resource(identifier) as Resource;
    },
  );

  const patch = db.transaction(
    (identifier: ResourceId, changes: ResourcePatch, condition?: Condition): Resource => {
      const before = checked(identifier, condition);
      update.run({ identifier, ...toColumns({ ...before, ...changes }) });
      return resource(identifier) as Resource;
    },
  );

  const remove = db.transaction((identifier: ResourceId, condition?: Condition): void => {
    checked(identifier, condition);
    const user = selectUser.get(identifier);
    if (user !== undefined) {
      throw new ConflictError('identifier', `is in use by the permission ${user.name}`);
    }
    deleteRow.run(identifier);
  });

  return {
    create: (newResource) => create.immediate(newResource),
    resource,
    list: (page) =>
      toPage(
        selectPage.all(pageParameters(page)),
        page.limit,
        toResource,
        ({ identifier }) => identifier,
      ),
    patch: (identifier, changes, condition) => patch.immediate(identifier, changes, condition),
    remove: (identifier, condition) => remove.immediate(identifier, condition),
  };
}
