/**
 * What can be written by hand in an afternoon: one `node:http` handler that verifies the assertion,
 * spends it, writes a line of audit and signs a token, and commits each request by itself. It has no
 * scopes, no roles, no keys per client but one, no rate limits and no checks of hostile spellings.
 *
 * `node minimal-server.js FILE ISSUER SYNCHRONOUS`; prints its port.
 *
 * @module
 */
import {
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  verify,
} from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import SqliteDatabase from 'better-sqlite3';

const [file = '', issuer = '', synchronous = 'FULL'] = process.argv.slice(2);
const db = new SqliteDatabase(file);
db.pragma('journal_mode = WAL');
db.pragma(`synchronous = ${synchronous}`);

const selectClient = db.prepare<[string], { x: string; scope: string }>(
  'SELECT x, scope FROM client WHERE id = ?',
);
const spend = db.prepare('INSERT OR IGNORE INTO seen (client, jti, until) VALUES (?, ?, ?)');
const sweep = db.prepare('DELETE FROM seen WHERE until < ?');
const audit = db.prepare('INSERT INTO audit (at, client, jti, outcome) VALUES (?, ?, ?, ?)');
const keys = new Map<string, KeyObject>();
const { privateKey } = generateKeyPairSync('ed25519');
const header = Buffer.from(JSON.stringify({ alg: 'EdDSA', typ: 'at+jwt', kid: 'k' })).toString(
  'base64url',
);

function keyOf(x: string): KeyObject {
  const known = keys.get(x);
  if (known !== undefined) return known;
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
  keys.set(x, key);
  return key;
}

const commit = db.transaction((client: string, jti: string, until: number, issued: string) => {
  if (spend.run(client, jti, until).changes !== 1) throw new Error('replay');
  audit.run(Math.floor(Date.now() / 1000), client, issued, 'ok');
});

interface Claims {
  readonly iss: string;
  readonly sub: string;
  readonly aud: string;
  readonly exp: number;
  readonly iat: number;
  readonly jti: string;
}

function issue(assertion: string): string {
  const now = Math.floor(Date.now() / 1000);
  const [head = '', payload = '', signature = ''] = assertion.split('.');
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Claims;
  const { alg } = JSON.parse(Buffer.from(head, 'base64url').toString()) as { alg: string };
  const { iss, sub, aud, exp, iat, jti } = claims;
  const isGood = alg === 'EdDSA' && iss === sub && aud === issuer && exp > now && iat <= now + 60;
  const client = isGood ? selectClient.get(iss) : undefined;
  if (client === undefined) throw new Error('refused');
  const input = Buffer.from(`${head}.${payload}`);
  if (!verify(null, input, keyOf(client.x), Buffer.from(signature, 'base64url'))) {
    throw new Error('signature');
  }
  const id = randomBytes(16).toString('base64url');
  commit.immediate(iss, jti, exp, id);
  const token = {
    ...{ iss: issuer, sub: iss, client_id: iss, aud: 'mqtts://broker.example' },
    ...{ iat: now, exp: now + 900, jti: id, scope: client.scope },
  };
  const body = `${header}.${Buffer.from(JSON.stringify(token)).toString('base64url')}`;
  return `${body}.${sign(null, Buffer.from(body), privateKey).toString('base64url')}`;
}

setInterval(() => sweep.run(Math.floor(Date.now() / 1000)), 10_000);
const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    let status = 200;
    let answer: object;
    try {
      const form = new URLSearchParams(Buffer.concat(chunks).toString());
      answer = {
        access_token: issue(form.get('assertion') ?? ''),
        token_type: 'Bearer',
        expires_in: 900,
      };
    } catch {
      status = 400;
      answer = { error: 'invalid_grant' };
    }
    const text = JSON.stringify(answer);
    response.writeHead(status, {
      'content-type': 'application/json',
      'content-length': text.length,
      'cache-control': 'no-store',
    });
    response.end(text);
  });
});
server.keepAliveTimeout = 65_000;
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`);
});
