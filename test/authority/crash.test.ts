/**
 * I10: SIGKILL in the middle of everything. What was answered is there afterwards, what is there has
 * its audit event, and the chain, the feed and the keys fit together.
 */
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import {
  type AuditRecord,
  dataDirPaths,
  initDataDir,
  loadConfig,
  managementResource,
  openDataDir,
  type Registry,
  readOperatorKey,
} from '@latchkey/authority';
import {
  createKeySigner,
  generateKey,
  type Issuer,
  JWT_BEARER_GRANT,
  parseClientId,
  parseIssuer,
  parsePermissionName,
  parseResourceId,
  parseRoleName,
  type Signer,
  signAssertion,
  systemClock,
} from '@latchkey/shared';
import SqliteDatabase from 'better-sqlite3';
import { afterAll, expect, onTestFinished, test } from 'vitest';
import { allEvents, faultOf } from '../helpers/audit-events.ts';
import { freePort, startProgram, temporaryDir } from '../helpers/processes.ts';
import { enrollmentRequest } from '../helpers/test-authority.ts';

const clock = systemClock;
const agent = new Agent({ keepAlive: true });
afterAll(() => agent.destroy());

interface Reply {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

/** Rejects unless the whole answer came. */
function post(url: string, type: 'form' | 'json', body: string, token?: string): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const headers = {
      'content-type': type === 'json' ? 'application/json' : 'application/x-www-form-urlencoded',
      'content-length': Buffer.byteLength(body),
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
    };
    const sent = request(url, { method: 'POST', agent, headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.once('error', reject);
      response.once('end', () => {
        if (!response.complete) return reject(new Error('cut off'));
        const text = Buffer.concat(chunks).toString();
        resolve({ status: response.statusCode as number, body: JSON.parse(text || '{}') });
      });
    });
    sent.once('error', reject);
    sent.end(body);
  });
}

const tokenForm = (assertion: string, more: Readonly<Record<string, string>> = {}) =>
  new URLSearchParams({ grant_type: JWT_BEARER_GRANT, assertion, ...more }).toString();

interface Fleet {
  readonly issuer: Issuer;
  readonly dataDir: string;
  /** Of the device `t-1`. */
  readonly signer: Signer;
}

/** A directory with a device that has rights, and one whose key is rotated. */
async function prepare(): Promise<Fleet> {
  const issuer = parseIssuer(`http://127.0.0.1:${await freePort()}`);
  const dataDir = join(temporaryDir(), 'authority');
  await initDataDir({ dataDir, issuer, clock });
  const { registry } = await openDataDir({ dataDir, config: loadConfig(dataDir), clock });
  const broker = parseResourceId('mqtts://broker.example');
  const role = parseRoleName('thermostat');
  const permission = parsePermissionName('telemetry');
  await registry.createResource({ identifier: broker, kind: 'mqtt', tokenTtlSeconds: 600 });
  await registry.createPermission({ name: permission, resource: broker, scopes: ['pub:a/#'] });
  await registry.createRole({ name: role, permissions: [permission] });
  const key = generateKey();
  const labels = new Map<string, string>();
  for (const [id, own] of [['t-1', key] as const, ['rotated', generateKey()] as const]) {
    const clientId = parseClientId(id);
    const roles = [role];
    await registry.createClient({
      id: clientId,
      kind: 'device',
      roles,
      labels,
      key: own.publicKey,
    });
  }
  await registry.close();
  return { issuer, dataDir, signer: createKeySigner(key) };
}

async function operatorToken({ issuer, dataDir }: Fleet): Promise<string> {
  const { signer, clientId } = readOperatorKey(dataDirPaths(dataDir).operatorKey);
  const assertion = await signAssertion(signer, { clientId, issuer, now: clock.now() });
  const form = tokenForm(assertion, { resource: managementResource(issuer) });
  const { body } = await post(`${issuer}/token`, 'form', form);
  return String(body.access_token);
}

interface Answered {
  /** `jti` of each token, and the assertion that it was given for. */
  readonly tokens: Map<string, string>;
  /** Client id and kid. */
  readonly enrolled: Map<string, string>;
  readonly rotations: string[];
  signingRotations: number;
}

/** Works until the authority is gone. */
async function burst(fleet: Fleet, round: number, answered: Answered, onAnswer: () => void) {
  const { issuer, signer } = fleet;
  let operator = await operatorToken(fleet);
  /** A rotation `now` voids the operator's token too, so it takes another. */
  const manage = async (path: string, body: object): Promise<Reply> => {
    const url = `${issuer}/api/v1${path}`;
    const reply = await post(url, 'json', JSON.stringify(body), operator);
    if (reply.status !== 401) return reply;
    operator = await operatorToken(fleet);
    return manage(path, body);
  };
  const made = await manage('/enrollments', {
    id_pattern: 'e-*',
    uses: 1000,
    roles: ['thermostat'],
  });
  const code = String(made.body.enrollment_code);
  let isGone = false;
  const repeat = async (work: (i: number) => Promise<void>) => {
    for (let i = 0; !isGone; i += 1) {
      try {
        await work(i);
        onAnswer();
      } catch (error) {
        if (!(error as NodeJS.ErrnoException).code && (error as Error).message !== 'cut off') {
          throw error;
        }
        isGone = true;
      }
    }
  };
  const getToken = async () => {
    const clientId = parseClientId('t-1');
    const assertion = await signAssertion(signer, { clientId, issuer, now: clock.now() });
    const { status, body } = await post(`${issuer}/token`, 'form', tokenForm(assertion));
    expect(status, JSON.stringify(body)).toBe(200);
    const payload = String(body.access_token).split('.')[1] as string;
    const { jti } = JSON.parse(Buffer.from(payload, 'base64url').toString());
    answered.tokens.set(jti, assertion);
  };
  const enroll = (lane: number) => async (i: number) => {
    const device = { clientId: parseClientId(`e-${round}-${lane}-${i}`), key: generateKey() };
    const body = await enrollmentRequest({ issuer, clock: clock as never }, device, code);
    const { status } = await post(`${issuer}/enroll`, 'json', JSON.stringify(body));
    expect(status).toBe(201);
    answered.enrolled.set(device.clientId, device.key.publicKey.kid);
  };
  const rotateKey = async (i: number) => {
    // What the process before left under way is finished first.
    if (i === 0) await manage('/clients/rotated/keys/rotation/finish', {});
    const { publicKey } = generateKey();
    const start = await manage('/clients/rotated/keys/rotation/start', {
      public_key: publicKey.jwk,
    });
    expect(start.status, JSON.stringify(start.body)).toBe(200);
    answered.rotations.push(publicKey.kid);
    const { status } = await manage('/clients/rotated/keys/rotation/finish', {});
    expect(status).toBe(200);
  };
  const rotateSigningKeys = async () => {
    const { status } = await manage('/signing-keys/rotate', { now: true });
    expect(status).toBe(200);
    answered.signingRotations += 1;
  };
  await Promise.all([
    ...Array.from({ length: 8 }, () => repeat(getToken)),
    ...[1, 2, 3].map((lane) => repeat(enroll(lane))),
    repeat(rotateKey),
    repeat(rotateSigningKeys),
  ]);
}

const ok = (events: readonly AuditRecord[], type: string, action: string) =>
  events.filter(
    (event) => event.type === type && event.action === action && event.outcome === 'ok',
  );

async function checkAudit(registry: Registry, answered: Answered, db: SqliteDatabase.Database) {
  expect(await faultOf(registry)).toBeUndefined();
  const events = await allEvents(registry);
  const issued = new Set(ok(events, 'token', 'issue').map(({ jti }) => jti));
  expect([...answered.tokens.keys()].filter((jti) => !issued.has(jti))).toEqual([]);
  // In both directions: no enrolled device without its event, and no event without its device.
  const enrolled = db
    .prepare<[], string>("SELECT id FROM client WHERE id LIKE 'e-%' ORDER BY id")
    .pluck()
    .all();
  expect(
    ok(events, 'enrollment', 'enroll')
      .map(({ clientId }) => clientId)
      .sort(),
  ).toEqual(enrolled);
  expect([...answered.enrolled.keys()].filter((id) => !enrolled.includes(id))).toEqual([]);
  const starts = ok(events, 'management', 'start').length;
  const owned = db.prepare<[], number>("SELECT count(*) FROM key_owner WHERE client = 'rotated'");
  expect(owned.pluck().get()).toBe(starts + 1);
  expect(starts).toBeGreaterThanOrEqual(answered.rotations.length);
}

test('SIGKILL during tokens, enrollments and rotations loses nothing that was answered', async () => {
  const fleet = await prepare();
  const { issuer, dataDir } = fleet;
  const answered: Answered = {
    tokens: new Map(),
    enrolled: new Map(),
    rotations: [],
    signingRotations: 0,
  };
  for (let round = 1; round <= 3; round += 1) {
    const running = startProgram('latchkey', ['serve', '--data-dir', dataDir]);
    await running.event('authority.listening');
    let left = 150 + Math.floor(Math.random() * 250);
    await burst(fleet, round, answered, () => {
      left -= 1;
      if (left === 0) running.child.kill('SIGKILL');
    });
    await running.stop('SIGKILL');

    const db = new SqliteDatabase(dataDirPaths(dataDir).registry);
    const column = (sql: string) => db.prepare<[], unknown>(sql).pluck().all();
    expect(column('PRAGMA integrity_check')).toEqual(['ok']);
    expect(column('PRAGMA foreign_key_check')).toEqual([]);
    expect(column('SELECT id FROM client EXCEPT SELECT client FROM client_change')).toEqual([]);
    const { registry, signingKeys } = await openDataDir({
      dataDir,
      config: loadConfig(dataDir),
      clock,
    });
    await checkAudit(registry, answered, db);
    const keys = (await signingKeys.list()).filter(({ alg }) => alg === 'EdDSA');
    for (const status of ['active', 'next']) {
      expect(keys.filter((key) => key.status === status)).toHaveLength(1);
    }
    await registry.close();
    db.close();
  }
  expect(answered.tokens.size).toBeGreaterThan(100);
  expect(answered.enrolled.size).toBeGreaterThan(20);

  const running = startProgram('latchkey', ['serve', '--data-dir', dataDir]);
  await running.event('authority.listening');
  onTestFinished(() => agent.destroy());
  for (const assertion of [...answered.tokens.values()].slice(-100)) {
    const { status, body } = await post(`${issuer}/token`, 'form', tokenForm(assertion));
    expect(status).toBe(400);
    expect(body.error).toBe('invalid_grant');
  }
  expect(await running.stop()).toBe(0);
}, 120_000);
