/**
 * A real authority over a data directory that `init` made, with a driven clock and a captured log; and
 * what an operator and a device do with it over HTTP.
 *
 * @module
 */
import {
  type Authority,
  type AuthorityConfig,
  createAuthority,
  dataDirPaths,
  initDataDir,
  loadConfig,
  managementResource,
  openDataDir,
  type Registry,
  readOperatorKey,
  type SigningKeys,
} from '@latchkey/authority';
import {
  type ClientId,
  createKeySigner,
  generateKey,
  type Issuer,
  JWT_BEARER_GRANT,
  newEnrollmentCode,
  type PrivateKey,
  parseClientId,
  parseIssuer,
  signAssertion,
  signEnrollmentProof,
} from '@latchkey/shared';
import SqliteDatabase from 'better-sqlite3';
import { onTestFinished } from 'vitest';
import { type CapturedLog, createCapturedLog } from './captured-log.ts';
import { createDrivenClock, type DrivenClock } from './driven-clock.ts';
import { temporaryDir } from './processes.ts';

export const BROKER = 'mqtts://broker.example';

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: unknown;
}

export interface TestAuthority {
  readonly authority: Authority;
  readonly registry: Registry;
  readonly signingKeys: SigningKeys;
  readonly dataDir: string;
  readonly issuer: Issuer;
  readonly clock: DrivenClock;
  readonly log: CapturedLog;
  /** Sends a form to the token endpoint; pairs may repeat a name. */
  form(pairs: readonly (readonly [string, string])[]): Promise<Answer>;
  /** Asks for a token with an assertion. */
  token(assertion: string, more?: Readonly<Record<string, string>>): Promise<Answer>;
  enroll(body: unknown): Promise<Answer>;
  /** Calls the management API as the operator. */
  api(method: 'GET' | 'POST', path: string, body?: object): Promise<Answer>;
  operatorToken(): Promise<string>;
  /** Every row of the registry but spent assertions and audit events, as text: equal texts mean that nothing changed. */
  dump(): string;
}

/** Rows of all tables. */
export function dumpRegistry(dataDir: string): string {
  const db = new SqliteDatabase(dataDirPaths(dataDir).registry, { readonly: true });
  try {
    const tables = db
      .prepare<[], { name: string }>(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT IN ('assertion_seen', 'audit_event', 'sqlite_sequence') ORDER BY name",
      )
      .all();
    const rows = tables.map(({ name }) => [name, db.prepare(`SELECT * FROM ${name}`).all()]);
    return JSON.stringify(rows, undefined, 1);
  } finally {
    db.close();
  }
}

/** Runs SQL on the registry's file, for states that no command makes yet. */
export function execSql({ dataDir }: Pick<TestAuthority, 'dataDir'>, sql: string): void {
  const db = new SqliteDatabase(dataDirPaths(dataDir).registry);
  try {
    db.exec(sql);
  } finally {
    db.close();
  }
}

interface Options extends Omit<Partial<AuthorityConfig>, 'issuer'> {
  readonly issuer?: string;
  readonly dataDir?: string;
  readonly clock?: DrivenClock;
}

/** Opens an authority, on a new data directory unless one is given; it closes when the test ends. */
export async function openTestAuthority(options: Options = {}): Promise<TestAuthority> {
  const { clock = createDrivenClock(), issuer: wanted = 'https://id.example', ...rest } = options;
  const { dataDir: given, ...settings } = rest;
  let dataDir = given;
  const log = createCapturedLog();
  if (dataDir === undefined) {
    dataDir = temporaryDir();
    const issuer = parseIssuer(wanted);
    await initDataDir({ dataDir, issuer, clock });
  }
  const config = loadConfig(dataDir);
  const { issuer } = config;
  const parts = await openDataDir({ dataDir, config, clock });
  const authority = await createAuthority(
    { ...settings, issuer },
    { ...parts, clock, logger: log },
  );
  let isOpen = true;
  const close = async () => {
    if (isOpen) await authority.close();
    isOpen = false;
  };
  onTestFinished(close);
  const base = new URL(issuer).pathname.replace(/\/$/, '');

  const send = async (
    method: 'GET' | 'POST',
    url: string,
    headers: Record<string, string>,
    payload?: string,
  ): Promise<Answer> => {
    const response = await authority.app.inject({
      method,
      url: `${base}${url}`,
      headers,
      ...(payload !== undefined && { payload }),
    });
    return {
      status: response.statusCode,
      headers: response.headers,
      body: response.body === '' ? '' : JSON.parse(response.body),
    };
  };
  const json = { 'content-type': 'application/json' };

  const self: TestAuthority = {
    authority: { ...authority, close },
    registry: parts.registry,
    signingKeys: parts.signingKeys,
    dataDir,
    issuer,
    clock,
    log,
    form: (pairs) =>
      send(
        'POST',
        '/token',
        { 'content-type': 'application/x-www-form-urlencoded' },
        new URLSearchParams(
          pairs.map(([name, value]): [string, string] => [name, value]),
        ).toString(),
      ),
    token: (assertion, more = {}) =>
      self.form([
        ['grant_type', JWT_BEARER_GRANT],
        ['assertion', assertion],
        ...Object.entries(more),
      ]),
    enroll: (body) => send('POST', '/enroll', json, JSON.stringify(body)),
    api: async (method, path, body) =>
      send(
        method,
        `/api/v1${path}`,
        { authorization: `Bearer ${await self.operatorToken()}`, ...(body && json) },
        body && JSON.stringify(body),
      ),
    operatorToken: async () => {
      const { signer, clientId } = readOperatorKey(dataDirPaths(dataDir).operatorKey);
      const assertion = await signAssertion(signer, { clientId, issuer, now: clock.now() });
      const { body } = await self.token(assertion, { resource: managementResource(issuer) });
      return (body as { access_token: string }).access_token;
    },
    dump: () => dumpRegistry(dataDir),
  };
  return self;
}

/** A device with its key, as the agent would be. */
export interface TestDevice {
  readonly clientId: ClientId;
  readonly key: PrivateKey;
  /** A fresh assertion for the authority. */
  assertion(options?: Partial<Parameters<typeof signAssertion>[1]>): Promise<string>;
}

export function createTestDevice(
  { issuer, clock }: Pick<TestAuthority, 'issuer' | 'clock'>,
  id = 't-42',
  key: PrivateKey = generateKey(),
): TestDevice {
  const clientId = parseClientId(id);
  const signer = createKeySigner(key);
  return {
    clientId,
    key,
    assertion: (options = {}) =>
      signAssertion(signer, { clientId, issuer, now: clock.now(), ...options }),
  };
}

/** Body of an enrollment request, with its proof. */
export async function enrollmentRequest(
  { issuer, clock }: Pick<TestAuthority, 'issuer' | 'clock'>,
  { clientId, key }: Pick<TestDevice, 'clientId' | 'key'>,
  code: string = newEnrollmentCode(),
): Promise<Record<string, unknown>> {
  const proof = await signEnrollmentProof(createKeySigner(key), {
    issuer,
    clientId,
    enrollmentCode: code,
    now: clock.now(),
  });
  return { enrollment_code: code, client_id: clientId, public_key: key.publicKey.jwk, proof };
}

/** A broker, the permissions `telemetry` and `commands`, and the role `thermostat` of both. */
export async function addThermostatRole({ api }: TestAuthority): Promise<void> {
  const answers = [
    await api('POST', '/resources', { identifier: BROKER, kind: 'mqtt', token_ttl_seconds: 600 }),
    await api('POST', '/permissions', {
      name: 'telemetry',
      resource: BROKER,
      scopes: ['pub:devices/{client_id}/telemetry/#'],
    }),
    await api('POST', '/permissions', {
      name: 'commands',
      resource: BROKER,
      scopes: ['sub;qos=1:devices/{client_id}/commands/+', 'sub:devices/{client_id}/config'],
    }),
    await api('POST', '/roles', { name: 'thermostat', permissions: ['telemetry', 'commands'] }),
  ];
  const failed = answers.find(({ status }) => status !== 201);
  if (failed !== undefined) throw new Error(JSON.stringify(failed.body));
}

/** Registers a device with the role `thermostat`. */
export async function addDevice(
  authority: TestAuthority,
  id = 't-42',
  more: object = {},
): Promise<TestDevice> {
  const device = createTestDevice(authority, id);
  const { status, body } = await authority.api('POST', '/devices', {
    client_id: id,
    public_key: device.key.publicKey.jwk,
    roles: ['thermostat'],
    ...more,
  });
  if (status !== 201) throw new Error(JSON.stringify(body));
  return device;
}

/** Makes an enrollment code as the operator. */
export async function addCode(authority: TestAuthority, body: object = {}): Promise<string> {
  const answer = await authority.api('POST', '/enrollments', { roles: ['thermostat'], ...body });
  if (answer.status !== 201) throw new Error(JSON.stringify(answer.body));
  return (answer.body as { enrollment_code: string }).enrollment_code;
}
