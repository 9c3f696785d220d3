/** `latchkey-broker validate` and `healthcheck`: what they find, and how they say it. */
import { X509Certificate } from 'node:crypto';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { parseHttpDate, systemClock } from '@latchkey/shared';
import { describe, expect, onTestFinished, test } from 'vitest';
import { checkParts } from '../../broker-plugin/src/broker/check-parts.ts';
import { parseBrokerConfig } from '../../broker-plugin/src/broker/config.ts';
import { startBroker } from '../../broker-plugin/src/broker/start.ts';
import { runProgram } from '../../broker-plugin/src/cli/program.ts';
import { createCapturedLog } from '../helpers/captured-log.ts';
import { newSelfSigned, selfSigned } from '../helpers/certificate.ts';
import { BROKER, startIssuer } from '../helpers/issuer-server.ts';
import { freePort, temporaryDir } from '../helpers/processes.ts';
import { hasRedis, startRedis } from '../helpers/redis-server.ts';

const head = 'issuer = "https://id.example"\naudience = "mqtts://broker.example"\n';
const tcp = '[[listen]]\ntype = "tcp"\nport = 1883\n';

async function run(text: string, ...args: string[]) {
  const file = join(temporaryDir(), 'broker.toml');
  writeFileSync(file, text);
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const signal = new AbortController().signal;
  const io = { stdout, stderr, clock: systemClock, signal };
  const [command = 'validate', ...options] = args;
  const exitCode = await runProgram([command, '--config', file, ...options], io);
  const said = (stream: PassThrough) => String(stream.read() ?? '').replaceAll(file, 'broker.toml');
  return { exitCode, stdout: said(stdout), stderr: said(stderr) };
}

function tlsEntry(pair = selfSigned(), port = 8883): string {
  const dir = temporaryDir();
  const [certificate, key] = [join(dir, 'c.pem'), join(dir, 'k.pem')];
  writeFileSync(certificate, pair.cert);
  writeFileSync(key, pair.key, { mode: 0o600 });
  return `[[listen]]\ntype = "tls"\nport = ${port}\ncertificate_file = "${certificate}"\nkey_file = "${key}"\n`;
}

test('a valid file is shown as it would run', async () => {
  expect(await run(head + tcp)).toEqual({
    exitCode: 0,
    stdout:
      'broker.toml is valid\n' +
      '  issuers      https://id.example\n' +
      '  audience     mqtts://broker.example\n' +
      '  trust feed   not followed\n' +
      '  sessions     memory\n' +
      '  listens on   tcp 127.0.0.1:1883\n',
    stderr: '',
  });
});

test('--json tells the same to a program', async () => {
  const text = `${head}${tcp}[http]\nport = 9401\n`;
  const { exitCode, stdout } = await run(text, 'validate', '--json');
  expect(exitCode).toBe(0);
  expect(JSON.parse(stdout)).toEqual({
    valid: true,
    issuers: ['https://id.example'],
    audience: 'mqtts://broker.example',
    listen: [
      { type: 'tcp', host: '127.0.0.1', port: 1883 },
      { type: 'http', host: '127.0.0.1', port: 9401 },
    ],
    persistence: 'memory',
    followsFeed: false,
    warnings: [],
  });
  const bad = await run(`${head}listen = []\n`, 'validate', '--json');
  expect(bad.exitCode).toBe(2);
  expect(bad.stderr).toBe('');
  expect(JSON.parse(bad.stdout)).toMatchObject({ valid: false, problems: [{ path: 'listen' }] });
});

test('all that is wrong outside of the file is listed at once', async () => {
  const dir = temporaryDir();
  const open = join(dir, 'sessions');
  mkdirSync(open);
  chmodSync(open, 0o755);
  const text =
    `issuer_ca_file = "/nowhere/ca.pem"\nstate_file = "/nowhere/state.db"\n${head}` +
    `[feed]\nclient_id = "broker"\nkey_file = "/nowhere/broker.pem"\n` +
    `[persistence]\ntype = "level"\ndirectory = "${open}"\n` +
    `${tcp}[[listen]]\ntype = "tls"\nport = 8883\ncertificate_file = "/nowhere/c"\nkey_file = "/nowhere/k"\n`;
  const { exitCode, stdout } = await run(text, 'validate', '--json');
  expect(exitCode).toBe(2);
  const { problems } = JSON.parse(stdout) as {
    readonly problems: readonly { readonly path: string; readonly message: string }[];
  };
  expect(problems.map(({ path }) => path)).toEqual([
    'issuer_ca_file',
    'state_file',
    'feed.key_file',
    'persistence',
    'listen.1',
  ]);
  expect(problems[3]?.message).toContain('chmod 700');
});

test.each([
  { days: 20, isWarned: true },
  { days: 40, isWarned: false },
])(
  'a certificate that is good for $days days is warned of: $isWarned',
  async ({ days, isWarned }) => {
    const { exitCode, stderr } = await run(head + tlsEntry(newSelfSigned(days)));
    expect(exitCode).toBe(0);
    if (isWarned)
      expect(stderr).toMatch(/warning: listen\.0\.certificate_file: .* in (19|20) days/);
    else expect(stderr).toBe('');
  },
);

test.each([
  { name: 'one second before its end', offset: -1, problems: 0, warnings: 1 },
  { name: 'at its end', offset: 0, problems: 1, warnings: 0 },
])('a certificate $name', async ({ offset, problems, warnings }) => {
  const { validTo } = new X509Certificate(selfSigned().cert);
  const now = (parseHttpDate(validTo) as number) + offset;
  const config = parseBrokerConfig(head + tlsEntry(), 'broker.toml');
  const report = await checkParts(config, { clock: { ...systemClock, now: () => now } });
  expect(report.problems).toHaveLength(problems);
  expect(report.warnings).toHaveLength(warnings);
});

test('a persistence whose package is missing is told with the command that installs it', async () => {
  const load = createRequire(join(temporaryDir(), 'program.js'));
  const text = `${head}${tcp}[persistence]\ntype = "level"\ndirectory = "/tmp/x"\n`;
  const config = parseBrokerConfig(text, 'broker.toml');
  const { problems } = await checkParts(config, { clock: systemClock, load });
  expect(problems).toMatchObject([
    {
      path: 'persistence',
      message: expect.stringContaining('npm install aedes-persistence-level'),
    },
  ]);
});

describe('redis', () => {
  const text = (port: number, more = '') =>
    `${head}${tcp}[persistence]\ntype = "redis"\nport = ${port}\n${more}`;

  test('that does not answer is exit code 3', async () => {
    const { exitCode, stderr } = await run(text(await freePort()));
    expect(exitCode).toBe(3);
    expect(stderr).toContain('cannot reach Redis');
  });

  test('is not asked while something else is wrong', async () => {
    const { exitCode } = await run(text(await freePort(), 'password_file = "/nowhere/x"\n'));
    expect(exitCode).toBe(2);
  });

  test.skipIf(!hasRedis)('that answers is good', async () => {
    const { port, passwordFile } = await startRedis();
    const { exitCode } = await run(text(port, `password_file = "${passwordFile}"\n`));
    expect(exitCode).toBe(0);
  });
});

describe('healthcheck', () => {
  async function running() {
    const issuer = await startIssuer(systemClock);
    const port = await freePort();
    const text = `issuer = "${issuer.issuer}"\naudience = "${BROKER}"\n[[listen]]\ntype = "tcp"\nport = 0\n[http]\nport = ${port}\n`;
    const log = createCapturedLog();
    const start = async () => {
      const config = parseBrokerConfig(text, 'broker.toml');
      const broker = await startBroker(config, { clock: systemClock, logger: log });
      onTestFinished(() => broker.close());
    };
    return { issuer, text, log, start };
  }

  test('says ready when clients can be let in', async () => {
    const { text, log, start } = await running();
    await start();
    await log.event('keys.updated');
    expect(await run(text, 'healthcheck')).toMatchObject({ exitCode: 0, stdout: 'ready\n' });
  });

  test('is exit code 1 while there are no keys; with --live it is enough to run', async () => {
    const { issuer, text, log, start } = await running();
    issuer.answer = (_path, response) => {
      response.writeHead(503).end();
      return true;
    };
    await start();
    await log.event('keys.unavailable');
    const unready = await run(text, 'healthcheck');
    expect(unready).toMatchObject({ exitCode: 1, stdout: 'not ready (503)\n' });
    expect((await run(text, 'healthcheck', '--live')).exitCode).toBe(0);
  });

  test('is exit code 3 when nobody answers, and 2 without [http]', async () => {
    const { text } = await running();
    expect((await run(text, 'healthcheck')).exitCode).toBe(3);
    const without = await run(head + tcp, 'healthcheck');
    expect(without.exitCode).toBe(2);
    expect(without.stderr).toContain('[http]');
  });
});
