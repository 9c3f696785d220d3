/**
 * oidc-provider with an adapter on better-sqlite3: clients are read from SQLite, assertions remembered
 * there. It has no audit log. It has no jwt-bearer grant either: client_credentials with
 * private_key_jwt is the same work.
 *
 * `node oidc-provider-server.js FILE PORT SYNCHRONOUS`; prints its port.
 *
 * @module
 */
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import SqliteDatabase from 'better-sqlite3';
import { Provider } from 'oidc-provider';

const [file = '', port = '', synchronous = 'FULL'] = process.argv.slice(2);
const db = new SqliteDatabase(file);
db.pragma('journal_mode = WAL');
db.pragma(`synchronous = ${synchronous}`);

const selectClient = db.prepare<[string], { kid: string; x: string }>(
  'SELECT kid, x FROM client WHERE id = ?',
);
const upsert = db.prepare(
  `INSERT INTO stored (model, id, payload, expires_at) VALUES (?, ?, ?, ?)
   ON CONFLICT (model, id) DO UPDATE SET payload = excluded.payload, expires_at = excluded.expires_at`,
);
const find = db.prepare<[string, string], { payload: string }>(
  'SELECT payload FROM stored WHERE model = ? AND id = ?',
);
const consume = db.prepare(
  "UPDATE stored SET payload = json_set(payload, '$.consumed', ?) WHERE model = ? AND id = ?",
);
const remove = db.prepare('DELETE FROM stored WHERE model = ? AND id = ?');
const sweep = db.prepare('DELETE FROM stored WHERE expires_at < ?');

const seconds = () => Math.floor(Date.now() / 1000);

function clientOf(id: string): object | undefined {
  const row = selectClient.get(id);
  return (
    row && {
      client_id: id,
      token_endpoint_auth_method: 'private_key_jwt',
      token_endpoint_auth_signing_alg: 'EdDSA',
      id_token_signed_response_alg: 'EdDSA',
      grant_types: ['client_credentials'],
      response_types: [],
      redirect_uris: [],
      jwks: { keys: [{ kty: 'OKP', crv: 'Ed25519', x: row.x, kid: row.kid, alg: 'EdDSA' }] },
    }
  );
}

class SqliteAdapter {
  readonly model: string;

  constructor(model: string) {
    this.model = model;
  }

  async upsert(id: string, payload: object, expiresIn: number): Promise<void> {
    upsert.run(this.model, id, JSON.stringify(payload), seconds() + (expiresIn || 900));
  }

  async find(id: string): Promise<object | undefined> {
    if (this.model === 'Client') return clientOf(id);
    const row = find.get(this.model, id);
    return row && (JSON.parse(row.payload) as object);
  }

  async findByUid(): Promise<undefined> {
    return undefined;
  }

  async findByUserCode(): Promise<undefined> {
    return undefined;
  }

  async consume(id: string): Promise<void> {
    consume.run(seconds(), this.model, id);
  }

  async destroy(id: string): Promise<void> {
    remove.run(this.model, id);
  }

  async revokeByGrantId(): Promise<void> {}
}

const RESOURCE = 'mqtts://broker.example';
const key = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
const provider = new Provider(`http://localhost:${port}`, {
  adapter: SqliteAdapter,
  clientAuthMethods: ['private_key_jwt'],
  enabledJWA: { clientAuthSigningAlgValues: ['EdDSA'] },
  jwks: { keys: [{ ...key, alg: 'EdDSA', use: 'sig', kid: 'k' }] },
  scopes: ['telemetry'],
  responseTypes: [],
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => RESOURCE,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        scope: 'telemetry',
        audience: RESOURCE,
        accessTokenTTL: 900,
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: 'EdDSA' } },
      }),
    },
  },
});

setInterval(() => sweep.run(seconds()), 10_000);
const server = createServer(provider.callback());
server.keepAliveTimeout = 65_000;
server.listen(Number(port), '127.0.0.1', () => void process.stdout.write(`${port}\n`));
