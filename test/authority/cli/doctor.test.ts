/** `latchkey doctor`: each thing that can be wrong is found and named, with what to do. */
import { once } from 'node:events';
import { appendFileSync, chmodSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { dataDirPaths, initDataDir } from '@latchkey/authority';
import { parseIssuer, systemClock } from '@latchkey/shared';
import { describe, expect, onTestFinished, test } from 'vitest';
import { newSelfSigned } from '../../helpers/certificate.ts';
import { runCli } from '../../helpers/cli.ts';
import { createDrivenClock } from '../../helpers/driven-clock.ts';
import { freePort, temporaryDir } from '../../helpers/processes.ts';
import { execSql, openTestAuthority } from '../../helpers/test-authority.ts';

interface Finding {
  readonly check: string;
  readonly level: string;
  readonly message: string;
  readonly remedy?: string;
}

async function setup() {
  const port = await freePort();
  const dataDir = join(temporaryDir(), 'authority');
  const issuer = parseIssuer(`http://127.0.0.1:${port}`);
  const clock = createDrivenClock(systemClock.now());
  await initDataDir({ dataDir, issuer, clock });
  const serve = async () => {
    const { authority } = await openTestAuthority({ dataDir, clock });
    await authority.listen({ host: '127.0.0.1', port });
  };
  const doctor = async (...args: readonly string[]) => {
    const { exitCode, stdout, stderr } = await runCli(['doctor', '--json', ...args], { clock });
    if (stdout === '') return { exitCode, stderr, found: () => undefined };
    const { findings } = JSON.parse(stdout) as { findings: readonly Finding[] };
    const found = (check: string) => findings.find((finding) => finding.check === check);
    return { exitCode, stderr, found };
  };
  return { dataDir, issuer, clock, serve, doctor };
}

test('a data directory that serves is well, but for keys that are not encrypted', async () => {
  const { dataDir, clock, serve } = await setup();
  await serve();
  const { exitCode, stdout } = await runCli(['doctor', '--data-dir', dataDir], { clock });
  expect(exitCode).toBe(0);
  expect(stdout).not.toContain('FAIL');
  expect(stdout).toContain('WARN  signing keys: 2 of the private keys are not encrypted');
  expect(stdout).toContain('-> set key_encryption_key_file');
  for (const check of ['settings', 'files', 'disk', 'registry', 'clock', 'audit chain', 'JWKS']) {
    expect(stdout).toContain(`ok    ${check}: `);
  }
});

describe('of a data directory it finds', () => {
  test.each([
    {
      name: 'settings that are none',
      damage: (dir: string) => writeFileSync(dataDirPaths(dir).config, 'issuer = 1'),
      finds: { check: 'settings', level: 'fail', message: /issuer/ },
    },
    {
      name: 'a directory that others may enter',
      damage: (dir: string) => chmodSync(dir, 0o755),
      finds: { check: 'files', level: 'fail', message: /mode 0755/, remedy: /^chmod 700 / },
    },
    {
      name: 'a registry that others may read',
      damage: (dir: string) => chmodSync(dataDirPaths(dir).registry, 0o640),
      finds: { check: 'files', level: 'fail', message: /mode 0640/, remedy: /^chmod 600 / },
    },
    {
      name: 'an operator key that others may read',
      damage: (dir: string) => chmodSync(dataDirPaths(dir).operatorKey, 0o644),
      finds: { check: 'operator key', level: 'fail', message: /can be read by others/ },
    },
    {
      name: 'a registry that ends in the middle',
      damage: (dir: string) => truncateSync(dataDirPaths(dir).registry, 8192),
      finds: { check: 'registry', level: 'fail', message: /damaged|malformed/ },
    },
    {
      name: 'an audit event that was changed',
      damage: (dir: string) =>
        execSql(
          { dataDir: dir },
          "DROP TRIGGER audit_event_is_never_changed; UPDATE audit_event SET actor = 'x'",
        ),
      finds: { check: 'audit chain', level: 'fail', message: /event 1 was changed/ },
    },
    {
      name: 'no active signing key',
      damage: (dir: string) =>
        execSql({ dataDir: dir }, "DELETE FROM signing_key WHERE status = 'active'"),
      finds: { check: 'settings', level: 'fail', message: /none is active/ },
    },
    {
      name: 'the file of a signing key that is gone',
      damage: (dir: string) => rmSync(dataDirPaths(dir).signingKeys, { recursive: true }),
      finds: { check: 'settings', level: 'fail', message: /does not exist/ },
    },
  ])('$name', async ({ damage, finds }) => {
    const { dataDir, doctor } = await setup();
    damage(dataDir);
    const { exitCode, found } = await doctor('--data-dir', dataDir, '--no-network');
    expect(exitCode).toBe(1);
    expect(found(finds.check)).toMatchObject({
      level: finds.level,
      message: expect.stringMatching(finds.message),
      ...(finds.remedy && { remedy: expect.stringMatching(finds.remedy) }),
    });
  });

  test('a clock that went back behind the newest audit event', async () => {
    const { dataDir, clock, doctor } = await setup();
    const newest = clock.now();
    clock.set(newest - 1);
    const { exitCode, found } = await doctor('--data-dir', dataDir, '--no-network');
    expect(exitCode).toBe(1);
    expect(found('clock')).toMatchObject({
      level: 'fail',
      message: expect.stringContaining('1 s before the newest audit event'),
    });
    clock.set(newest);
    const { found: foundThen } = await doctor('--data-dir', dataDir, '--no-network');
    expect(foundThen('clock')).toMatchObject({ level: 'ok' });
  });

  test('a signing key that should have been rotated, once the schedule is two days late', async () => {
    const { dataDir, clock, doctor } = await setup();
    const days = (count: number) => count * 86_400;
    clock.set(clock.now() + days(92));
    const { exitCode, found } = await doctor('--data-dir', dataDir, '--no-network');
    expect([exitCode, found('signing keys')?.message]).toEqual([
      0,
      expect.stringMatching(/not encrypted/),
    ]);
    clock.set(clock.now() + 1);
    const { found: late } = await doctor('--data-dir', dataDir, '--no-network');
    expect(late('signing keys')).toMatchObject({
      level: 'warn',
      message: expect.stringContaining('signs for longer than 90 days'),
    });
  });
});

describe('of a certificate it finds', () => {
  test.each([
    { name: 'that it is valid', days: 20, level: 'ok', exitCode: 0 },
    { name: 'that it expires soon', days: 10, level: 'warn', exitCode: 0 },
    { name: 'that it is expired', days: -1, level: 'fail', exitCode: 1 },
  ])('$name', async ({ days, level, exitCode }) => {
    const { dataDir, doctor } = await setup();
    const { cert, key } = newSelfSigned(days);
    writeFileSync(join(dataDir, 'cert.pem'), cert);
    writeFileSync(join(dataDir, 'key.pem'), key, { mode: 0o600 });
    appendFileSync(
      dataDirPaths(dataDir).config,
      '[tls]\ncertificate_file = "cert.pem"\nkey_file = "key.pem"\n',
    );
    const outcome = await doctor('--data-dir', dataDir, '--no-network');
    expect([outcome.exitCode, outcome.found('certificate')?.level]).toEqual([exitCode, level]);
  });
});

describe('of an authority it finds', () => {
  test('that it does not answer, and says so with the address', async () => {
    const { issuer, doctor } = await setup();
    const { exitCode, found } = await doctor('--authority', issuer);
    expect(exitCode).toBe(1);
    expect(found('authority')).toMatchObject({
      level: 'fail',
      message: expect.stringContaining(issuer),
      remedy: expect.stringContaining('start the service'),
    });
  });

  test.each([
    { name: 'a clock that is right', off: 0, level: 'ok', exitCode: 0 },
    { name: 'a clock that drifts', off: 10, level: 'warn', exitCode: 0 },
    { name: 'a clock that is wrong', off: -60, level: 'fail', exitCode: 1 },
  ])('$name', async ({ off, level, exitCode }) => {
    const { issuer, clock, serve, doctor } = await setup();
    await serve();
    clock.set(systemClock.now() + off);
    const outcome = await doctor('--authority', issuer);
    expect([outcome.exitCode, outcome.found('clock of the authority')?.level]).toEqual([
      exitCode,
      level,
    ]);
  });

  test.each([
    {
      name: 'a JWKS without the key that signs',
      jwks: '{"keys":[{"kid":"x"}]}',
      says: /^lacks .* signs$/,
    },
    { name: 'a JWKS without any key', jwks: '{"keys":[]}', says: /^lacks / },
    { name: 'a JWKS that is none', jwks: '<html>', says: /is not a JWK set/ },
  ])('$name', async ({ jwks, says }) => {
    const { dataDir, issuer, doctor } = await setup();
    const metadata = { issuer, token_endpoint: `${issuer}/token`, jwks_uri: `${issuer}/jwks` };
    const server = createServer(({ url }, response) =>
      response.end(url === '/jwks' ? jwks : JSON.stringify(metadata)),
    );
    server.listen(Number(new URL(issuer).port), '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => void server.close());
    const { exitCode, found } = await doctor('--data-dir', dataDir);
    expect([exitCode, found('JWKS')]).toEqual([
      1,
      expect.objectContaining({ level: 'fail', message: expect.stringMatching(says) }),
    ]);
  });
});

describe('of a broker it finds', () => {
  async function monitorWith(metrics: string, status = 200): Promise<string> {
    const server = createServer((_request, response) => response.writeHead(status).end(metrics));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => void server.close());
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }
  test.each([
    { name: 'a feed that is new', metrics: 'latchkey_feed_age_seconds 120\n', level: 'ok' },
    { name: 'a feed that is old', metrics: 'latchkey_feed_age_seconds 121\n', level: 'fail' },
    { name: 'no feed', metrics: 'latchkey_sessions 0\n', level: 'fail' },
    { name: 'a feed that never came', metrics: 'latchkey_feed_age_seconds NaN\n', level: 'fail' },
    { name: 'a monitor that is broken', metrics: '', status: 500, level: 'fail' },
  ])('$name', async ({ metrics, status, level }) => {
    const { doctor } = await setup();
    const url = await monitorWith(metrics, status);
    const { exitCode, found } = await doctor('--broker', url);
    expect([exitCode, found(`feed at ${url}`)?.level]).toEqual([level === 'ok' ? 0 : 1, level]);
  });
});

test('it refuses to look at nothing', async () => {
  const { doctor } = await setup();
  expect(await doctor()).toMatchObject({
    exitCode: 2,
    stderr: expect.stringContaining('--data-dir, --authority or --broker'),
  });
});
