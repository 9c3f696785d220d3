/** TLS: what is loaded, the least version, and reading certificate and key again without an interruption. */
import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { initDataDir, loadTls } from '@latchkey/authority';
import { ConfigError, parseIssuer, systemClock } from '@latchkey/shared';
import { describe, expect, onTestFinished, test } from 'vitest';
import { runCli } from '../../helpers/cli.ts';
import { freePort, startProgram, temporaryDir } from '../../helpers/processes.ts';

/** Makes `<name>.pem` and `<name>-key.pem`. */
function makeCertificate(dir: string, name: string): { certificateFile: string; keyFile: string } {
  const files = {
    certificateFile: join(dir, `${name}.pem`),
    keyFile: join(dir, `${name}-key.pem`),
  };
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
      ...['-days', '2', '-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1'],
      ...['-keyout', files.keyFile, '-out', files.certificateFile],
    ],
    { stdio: 'ignore' },
  );
  chmodSync(files.keyFile, 0o600);
  return files;
}

describe('loading', () => {
  test('gives certificate, key, least version and the end of the certificate', () => {
    const files = makeCertificate(temporaryDir(), 'one');
    const { credentials, expiresAt } = loadTls(files);
    expect(credentials).toEqual({
      cert: readFileSync(files.certificateFile, 'utf8'),
      key: readFileSync(files.keyFile, 'utf8'),
      minVersion: 'TLSv1.2',
    });
    const days = ((expiresAt as number) - systemClock.now()) / 86_400;
    expect(days).toBeGreaterThan(1.9);
    expect(days).toBeLessThan(2.1);
  });

  test.each<{
    name: string;
    damage: (files: { certificateFile: string; keyFile: string }, dir: string) => void;
    says: RegExp;
  }>([
    {
      name: 'a key that others may read',
      damage: ({ keyFile }) => chmodSync(keyFile, 0o640),
      says: /one-key\.pem.*can be read by others/s,
    },
    {
      name: 'the key of another certificate',
      damage: ({ keyFile }, dir) => copyFileSync(makeCertificate(dir, 'two').keyFile, keyFile),
      says: /holds no private key for the certificate/,
    },
    {
      name: 'a certificate that is none',
      damage: ({ certificateFile }) => writeFileSync(certificateFile, 'x'),
      says: /one\.pem.*holds no certificate/s,
    },
    {
      name: 'a certificate cut off in the middle',
      damage: ({ certificateFile }) =>
        writeFileSync(certificateFile, readFileSync(certificateFile, 'utf8').slice(0, 300)),
      says: /holds no certificate/,
    },
    {
      name: 'a key that is none',
      damage: ({ keyFile }) => writeFileSync(keyFile, 'SECRET-TEXT'),
      says: /holds no private key/,
    },
    {
      name: 'a missing certificate',
      damage: (files) => {
        files.certificateFile += '.gone';
      },
      says: /does not exist/,
    },
  ])('refuses $name', ({ damage, says }) => {
    const dir = temporaryDir();
    const files = makeCertificate(dir, 'one');
    damage(files, dir);
    try {
      loadTls(files);
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(ConfigError);
      expect((error as Error).message).toMatch(says);
      expect((error as Error).message).not.toContain('SECRET-TEXT');
    }
  });
});

async function init(): Promise<{ dataDir: string; port: number }> {
  const port = await freePort();
  const dataDir = join(temporaryDir(), 'authority');
  const issuer = parseIssuer(`https://127.0.0.1:${port}`);
  await initDataDir({ dataDir, issuer, clock: systemClock });
  return { dataDir, port };
}

function addTls(dataDir: string): { certificateFile: string; keyFile: string } {
  const files = makeCertificate(dataDir, 'certificate');
  const config = join(dataDir, 'authority.toml');
  const tls = '[tls]\ncertificate_file = "certificate.pem"\nkey_file = "certificate-key.pem"\n';
  writeFileSync(config, readFileSync(config, 'utf8') + tls);
  return files;
}

describe('serve', () => {
  /** A connection that stays open, and a request on it. */
  const open = (port: number, ca: string) =>
    new Promise<TLSSocket>((resolve, reject) => {
      const socket = connect({ host: '127.0.0.1', port, ca }, () => resolve(socket));
      socket.once('error', reject);
      onTestFinished(() => void socket.destroy());
    });
  const ask = (socket: TLSSocket) =>
    new Promise<string>((resolve, reject) => {
      socket.once('data', (chunk) => resolve(String(chunk)));
      socket.once('close', () => reject(new Error('closed')));
      socket.write('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n');
    });

  test('reads certificate and key again on SIGHUP, keeps connections, and keeps the old ones when the new are bad', async () => {
    const { dataDir, port } = await init();
    const files = addTls(dataDir);
    const running = startProgram('latchkey', [
      ...['serve', '--data-dir', dataDir, '--listen', `127.0.0.1:${port}`],
    ]);
    expect(await running.event('authority.listening')).toMatchObject({
      url: `https://127.0.0.1:${port}`,
    });
    const firstCa = readFileSync(files.certificateFile, 'utf8');
    const first = await open(port, firstCa);
    expect(await ask(first)).toContain('200 OK');

    const good = { cert: readFileSync(files.certificateFile), key: readFileSync(files.keyFile) };
    writeFileSync(files.certificateFile, 'half written');
    running.child.kill('SIGHUP');
    await running.event('tls.not-reloaded');
    expect(await ask(await open(port, firstCa))).toContain('200 OK');
    writeFileSync(files.certificateFile, good.cert);

    makeCertificate(dataDir, 'certificate');
    running.child.kill('SIGHUP');
    expect(await running.event('tls.reloaded')).toMatchObject({ expiresAt: expect.any(Number) });
    const secondCa = readFileSync(files.certificateFile, 'utf8');
    expect(secondCa).not.toBe(firstCa);
    const second = await open(port, secondCa);
    expect(await ask(second)).toContain('200 OK');
    await expect(open(port, firstCa)).rejects.toThrow();
    expect(await ask(first)).toContain('200 OK');
    first.destroy();
    second.destroy();
    expect(await running.stop()).toBe(0);
  });

  test('speaks TLS 1.2 at least, and no plain HTTP', async () => {
    const { dataDir, port } = await init();
    const { certificateFile } = addTls(dataDir);
    const running = startProgram('latchkey', [
      ...['serve', '--data-dir', dataDir, '--listen', `127.0.0.1:${port}`],
    ]);
    await running.event('authority.listening');
    const ca = readFileSync(certificateFile, 'utf8');
    const status = (options: object) =>
      new Promise<number | undefined>((resolve, reject) => {
        const sent = request({ host: '127.0.0.1', port, path: '/healthz', ca, ...options });
        sent.once('response', (response) => resolve(response.resume().statusCode));
        sent.once('error', reject);
        sent.end();
      });
    expect(await status({ maxVersion: 'TLSv1.2', agent: false })).toBe(200);
    // OpenSSL's own clients refuse 1.1 too unless they are told to.
    const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' };
    await expect(status({ ...old, agent: false })).rejects.toThrow();
    await expect(fetch(`http://127.0.0.1:${port}/healthz`)).rejects.toThrow();
    await running.stop();
  });

  test('refuses to be reached from elsewhere without TLS, and says how to go on', async () => {
    const { dataDir } = await init();
    const { exitCode, stderr } = await runCli([
      ...['serve', '--data-dir', dataDir, '--listen', '0.0.0.0:0'],
    ]);
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/^error: --listen is reached from other machines.*--insecure/);
  });

  test.each([
    { name: 'with --insecure', args: ['--insecure'], tls: false },
    { name: 'with TLS', args: [], tls: true },
  ])('listens on all addresses $name', async ({ args, tls }) => {
    const { dataDir } = await init();
    if (tls) addTls(dataDir);
    const running = startProgram('latchkey', [
      ...['serve', '--data-dir', dataDir, '--listen', '0.0.0.0:0', ...args],
    ]);
    const { url } = await running.event('authority.listening');
    expect(url).toMatch(tls ? /^https:/ : /^http:/);
    expect(await running.stop()).toBe(0);
  });

  test.each([
    {
      name: 'an address beyond loopback without TLS',
      change: (text: string) => text.replace(/^listen = .*$/m, 'listen = "0.0.0.0:9400"'),
      says: 'listen: is reached from other machines',
    },
    {
      name: 'a certificate that is not there',
      change: (text: string) => `${text}[tls]\ncertificate_file = "x.pem"\nkey_file = "y.pem"\n`,
      says: 'x.pem is not valid',
    },
  ])('validate names $name', async ({ change, says }) => {
    const { dataDir } = await init();
    const config = join(dataDir, 'authority.toml');
    writeFileSync(config, change(readFileSync(config, 'utf8')));
    const { exitCode, stderr } = await runCli(['validate', '--data-dir', dataDir]);
    expect(exitCode).toBe(2);
    expect(stderr).toContain(says);
  });
});
