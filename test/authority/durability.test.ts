/** I10: what `latchkey serve` answered survives SIGKILL; SIGTERM and SIGINT end it cleanly. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { initDataDir } from '@latchkey/authority';
import {
  createHttpClient,
  createKeySigner,
  generateKey,
  type Issuer,
  JWT_BEARER_GRANT,
  parseClientId,
  parseIssuer,
  signAssertion,
  systemClock,
} from '@latchkey/shared';
import { expect, test } from 'vitest';
import { runCli } from '../helpers/cli.ts';
import { freePort, type Running, startProgram, temporaryDir } from '../helpers/processes.ts';
import { enrollmentRequest } from '../helpers/test-authority.ts';

const clock = systemClock;
const http = createHttpClient();

interface Live {
  readonly issuer: Issuer;
  readonly dataDir: string;
  readonly json: (...args: readonly string[]) => Promise<unknown>;
}

async function init(): Promise<Live> {
  const issuer = parseIssuer(`http://127.0.0.1:${await freePort()}`);
  const dataDir = join(temporaryDir(), 'authority');
  await initDataDir({ dataDir, issuer, clock });
  const json = async (...args: readonly string[]) => {
    const outcome = await runCli(['--data-dir', dataDir, ...args, '--json']);
    if (outcome.exitCode !== 0) throw new Error(outcome.stderr);
    return JSON.parse(outcome.stdout) as unknown;
  };
  return { issuer, dataDir, json };
}

async function start({ dataDir }: Live): Promise<Running> {
  const running = startProgram('latchkey', ['serve', '--data-dir', dataDir]);
  await running.event('authority.listening');
  return running;
}

test('a device, an enrollment and a spent assertion that were answered survive kill -9', async () => {
  const live = await init();
  const { issuer, json } = live;
  let running = await start(live);
  const restart = async () => {
    await running.stop('SIGKILL');
    running = await start(live);
  };

  await json('resource', 'create', 'mqtt://b', '--kind', 'mqtt');
  await json('permission', 'create', 'p', '--resource', 'mqtt://b', '--scope', 'pub:{client_id}');
  await json('role', 'create', 'r', '--permission', 'p');
  const made = await json('device', 'create', 't-1', '--role', 'r', '--label', 'site=berlin');
  await restart();
  expect(await json('device', 'show', 't-1')).toEqual(made);

  const code = (await json('enrollment', 'create', '--client-id', 't-2', '--role', 'r')) as {
    enrollment_code: string;
  };
  await restart();
  const device = { clientId: parseClientId('t-2'), key: generateKey() };
  const body = JSON.stringify(
    await enrollmentRequest({ issuer, clock: clock as never }, device, code.enrollment_code),
  );
  const enroll = () =>
    http.request({
      method: 'POST',
      url: `${issuer}/enroll`,
      headers: { 'content-type': 'application/json' },
      body,
    });
  const first = await enroll();
  expect(first.status).toBe(201);
  await restart();
  expect(await json('device', 'show', 't-2')).toMatchObject({
    roles: ['r'],
    keys: [{ kid: device.key.publicKey.kid }],
  });
  expect(await json('enrollment', 'show', '1')).toMatchObject({ uses_left: 0 });
  expect(await enroll()).toMatchObject({ status: 201, body: first.body });

  const assertion = await signAssertion(createKeySigner(device.key), {
    clientId: device.clientId,
    issuer,
    now: clock.now(),
  });
  const ask = async () =>
    (
      await http.request({
        method: 'POST',
        url: `${issuer}/token`,
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        body: new URLSearchParams({ grant_type: JWT_BEARER_GRANT, assertion }).toString(),
      })
    ).status;
  expect(await ask()).toBe(200);
  await restart();
  expect(await ask()).toBe(400);
  expect(await running.stop('SIGTERM')).toBe(0);
});

test.each(['SIGTERM', 'SIGINT'] as const)('%s ends serve with exit code 0', async (signal) => {
  const live = await init();
  const running = await start(live);
  const args = ['--data-dir', live.dataDir, 'role', 'list'];
  expect((await runCli(args)).exitCode).toBe(0);
  expect(await running.stop(signal)).toBe(0);
  expect(running.lines.at(-1)).toContain('authority.stopping');
});

test('the log is JSON lines, and warns when clients go elsewhere', async () => {
  const live = await init();
  const listen = `127.0.0.1:${await freePort()}`;
  const running = startProgram('latchkey', [
    'serve',
    '--data-dir',
    live.dataDir,
    '--listen',
    listen,
  ]);
  expect(await running.event('authority.listening')).toMatchObject({ url: `http://${listen}` });
  expect(await running.event('authority.issuer-elsewhere')).toMatchObject({ issuer: live.issuer });
  for (const line of running.lines) expect(() => JSON.parse(line)).not.toThrow();
  await running.stop();
});

test('an error in the settings ends serve with exit code 2 and without a stack', async () => {
  const live = await init();
  writeFileSync(join(live.dataDir, 'authority.toml'), 'issuer = "x"\nlisten = 1\ntsl = true\n');
  const running = startProgram('latchkey', ['serve', '--data-dir', live.dataDir]);
  expect(await running.stop('SIGCONT')).toBe(2);
  const printed = running.lines.join('\n');
  for (const name of ['issuer:', 'listen:', 'tsl: unknown key']) expect(printed).toContain(name);
  expect(printed).not.toContain('    at ');
});
