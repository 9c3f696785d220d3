import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAgentConfig, readIdentity } from '@latchkey/agent/daemon';
import { createHttpClient, parsePublicKey, systemClock, tlsPinOf } from '@latchkey/shared';
import { describe, expect, test } from 'vitest';
import { runAgentCli } from '../helpers/agent-cli.ts';
import { setUpAgent } from '../helpers/agent-setup.ts';
import { newSelfSigned, selfSigned } from '../helpers/certificate.ts';
import { startAuthority } from '../helpers/listening-authority.ts';
import { startProgram, temporaryDir } from '../helpers/processes.ts';
import { startTokenServer } from '../helpers/token-server.ts';

const OTHER_PIN = createHash('sha256').update('another key').digest('base64');

/** An https authority, and commands of a device that trusts its certificate. */
async function setUpTls() {
  const authority = await startTokenServer(systemClock, selfSigned());
  const next = newSelfSigned();
  const http = createHttpClient({ ca: `${selfSigned().cert}\n${next.cert}` });
  const stateDir = join(temporaryDir(), 'state');
  const run = (...args: string[]) =>
    runAgentCli([...args, '--state-dir', stateDir], { input: authority.code, change: { http } });
  const enroll = (...args: string[]) =>
    run(
      ...['enroll', '--authority', authority.issuer, '--client-id', 't-42', '--code-file', '-'],
      ...args,
    );
  const pin = `sha256/${tlsPinOf(selfSigned().cert)}`;
  return { authority, next, stateDir, run, enroll, pin };
}

describe('a pinned TLS key', () => {
  test('is kept at enrollment, and every later command holds to it', async () => {
    const { authority, next, stateDir, run, enroll, pin } = await setUpTls();
    expect((await enroll('--tls-pin', pin)).exitCode).toBe(0);
    expect((await readIdentity(stateDir))?.tlsPins).toEqual([tlsPinOf(selfSigned().cert)]);
    expect((await run('token')).exitCode).toBe(0);

    authority.setCertificate(next);
    const requests = authority.requests.length;
    for (const command of [
      ['token', '--scope', 'x'],
      ['key', 'rotate'],
    ]) {
      const { exitCode, stdout, stderr } = await run(...command);
      expect([exitCode, stdout]).toEqual([3, '']);
      expect(stderr).toMatch(/its TLS key is none that is pinned; it is sha256\//);
    }
    expect(authority.requests.length).toBe(requests);
  });

  test('that is another one: no code is sent, and nothing is pinned', async () => {
    const { authority, stateDir, enroll } = await setUpTls();
    const { exitCode, stderr } = await enroll('--tls-pin', OTHER_PIN);
    expect([exitCode, stderr]).toEqual([3, expect.stringContaining('none that is pinned')]);
    expect(authority.requests).toEqual([]);
    expect(await readIdentity(stateDir)).toBeUndefined();
  });

  test('may be one of several, so that the next one is there before it is used', async () => {
    const { authority, next, run, enroll, pin } = await setUpTls();
    await enroll('--tls-pin', pin, '--tls-pin', tlsPinOf(next.cert));
    authority.setCertificate(next);
    expect((await run('token')).exitCode).toBe(0);
  });

  test('is not changed by enrolling again', async () => {
    const { enroll, pin } = await setUpTls();
    await enroll('--tls-pin', pin);
    expect((await enroll('--tls-pin', pin)).exitCode).toBe(0);
    expect((await enroll()).exitCode).toBe(0);
    const { exitCode, stderr } = await enroll('--tls-pin', OTHER_PIN);
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining('other TLS pins')]);
  });

  test('that is no pin is refused before anything is made', async () => {
    const { stateDir, enroll } = await setUpTls();
    expect((await enroll('--tls-pin', 'sha256/short')).exitCode).toBe(2);
    expect(existsSync(stateDir)).toBe(false);
  });

  test('without one a changed key with a valid certificate is accepted', async () => {
    const { authority, next, run, enroll } = await setUpTls();
    await enroll();
    authority.setCertificate(next);
    expect((await run('token')).exitCode).toBe(0);
  });
});

describe('a key that was registered beforehand', () => {
  async function setUpRegistered() {
    const { authority } = await startAuthority();
    const stateDir = join(temporaryDir(), 'state');
    const created = await runAgentCli(['key', 'create', '--state-dir', stateDir]);
    const key = parsePublicKey(created.stdout);
    const register = (id = 't-7') =>
      authority.api('POST', '/devices', {
        ...{ client_id: id, public_key: key.jwk, roles: ['thermostat'] },
      });
    const enroll = (...args: string[]) =>
      runAgentCli([
        ...['enroll', '--authority', authority.issuer, '--client-id', 't-7', ...args],
        ...['--state-dir', stateDir],
      ]);
    return { authority, stateDir, key, register, enroll };
  }

  test('enrolls without a code, and pins issuer and client id', async () => {
    const { authority, stateDir, key, register, enroll } = await setUpRegistered();
    expect((await register()).status).toBe(201);
    const { exitCode, stderr } = await enroll('--registered');
    expect([exitCode, stderr]).toEqual([0, expect.stringContaining('enrolled as t-7')]);
    expect(await readIdentity(stateDir)).toMatchObject({
      ...{ issuer: authority.issuer, clientId: 't-7', kid: key.kid },
    });
    const token = await runAgentCli(['token', '--state-dir', stateDir]);
    expect(token.exitCode).toBe(0);
  });

  test.each([
    { name: 'of nobody', id: undefined },
    { name: 'of another device', id: 't-8' },
  ])('that is $name: refused with what to do, and nothing is pinned', async ({ id }) => {
    const { stateDir, key, register, enroll } = await setUpRegistered();
    if (id !== undefined) expect((await register(id)).status).toBe(201);
    const { exitCode, stderr } = await enroll('--registered');
    expect(exitCode).toBe(1);
    expect(stderr).toContain(key.kid);
    expect(stderr).toContain('latchkey device create t-7');
    expect(await readIdentity(stateDir)).toBeUndefined();
  });

  test.each([
    { name: 'neither a code nor --registered', args: [] },
    { name: 'both', args: ['--registered', '--code-file', '-'] },
  ])('enroll with $name is refused', async ({ args }) => {
    const { enroll } = await setUpRegistered();
    const { exitCode, stderr } = await enroll(...args);
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining('--registered')]);
  });

  test('enroll --registered without a key says how to make one', async () => {
    const authority = await startTokenServer(systemClock);
    const { exitCode, stderr } = await runAgentCli([
      ...['enroll', '--authority', authority.issuer, '--client-id', 't-7', '--registered'],
      ...['--state-dir', join(temporaryDir(), 'state')],
    ]);
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining('key create')]);
    expect(authority.requests).toEqual([]);
  });
});

describe('the configuration', () => {
  const authorityTable = (issuer: string, more = '') =>
    `[authority]\nissuer = "${issuer}"\nclient_id = "t-42"\n${more}`;

  /** Writes a configuration beside a state folder and starts the agent with it. */
  function start(dir: string, authority: string, broker: string) {
    const file = join(dir, 'agent.toml');
    writeFileSync(file, `state_dir = "state"\n${authority}[broker]\nurl = "${broker}"\n`);
    return startProgram('latchkey-agent', ['run', '--config', file]);
  }

  test('starts a device whose key is registered, without any enrollment, and pins it', async () => {
    const { authority, broker } = await setUpAgent();
    const dir = temporaryDir();
    await runAgentCli(['key', 'create', '--state-dir', join(dir, 'state')]);
    const agent = start(dir, authorityTable(authority.issuer), broker.url);
    await agent.event('agent.state', ({ state }) => state === 'online');
    expect(await readIdentity(join(dir, 'state'))).toMatchObject({
      ...{ issuer: authority.issuer, clientId: 't-42' },
    });
    expect(await agent.stop()).toBe(0);
    // The pin counts from now on, with or without the configuration.
    const other = start(dir, authorityTable('https://other.example'), broker.url);
    await expect(other.event('agent.state')).rejects.toThrow(/ended \(2\)/);
    expect(other.lines.join()).toMatch(
      /is enrolled as t-42 at http.*not as t-42 at https:\/\/other/,
    );
  });

  test.each([
    { name: 'another issuer', issuer: 'https://other.example', client: 't-42' },
    { name: 'another client id', issuer: undefined, client: 't-43' },
  ])('that names $name is refused, also by validate as a note', async ({ issuer, client }) => {
    const { authority, createAgent, dir, logger } = await setUpAgent();
    const table = `[authority]\nissuer = "${issuer ?? authority.issuer}"\nclient_id = "${client}"\n`;
    const requests = authority.requests.length;
    await expect(createAgent(table).run(new AbortController().signal)).rejects.toThrow(
      /is enrolled as t-42/,
    );
    expect([authority.requests.length, logger.lines.length]).toEqual([requests, 0]);
    const file = join(dir, 'other.toml');
    writeFileSync(file, `state_dir = "state"\n${table}[broker]\nurl = "mqtt://localhost"\n`);
    const { exitCode, stderr } = await runAgentCli(['validate', '--config', file]);
    expect([exitCode, stderr]).toEqual([0, expect.stringMatching(/^note: .*is enrolled as t-42/)]);
  });

  test('without a key: says how to make one', async () => {
    const { authority, broker } = await setUpAgent();
    const dir = temporaryDir();
    mkdirSync(join(dir, 'state'), { mode: 0o700 });
    const agent = start(dir, authorityTable(authority.issuer), broker.url);
    await expect(agent.event('agent.state')).rejects.toThrow(/ended \(2\)/);
    expect(agent.lines.join()).toContain('latchkey-agent key create');
  });

  test('pins TLS keys, and all commands hold to them; fewer lines do not take them away', async () => {
    const { authority, createAgent, stateDir } = await setUpAgent();
    const pins = `tls_pins = ["sha256/${OTHER_PIN}"]\n`;
    const ending = new AbortController();
    ending.abort();
    await createAgent(authorityTable(authority.issuer, pins)).run(ending.signal);
    expect((await readIdentity(stateDir))?.tlsPins).toEqual([OTHER_PIN]);
    await createAgent().run(ending.signal);
    expect((await readIdentity(stateDir))?.tlsPins).toEqual([OTHER_PIN]);
    const requests = authority.requests.length;
    const token = await runAgentCli(['token', '--state-dir', stateDir, '--scope', 'x']);
    expect([token.exitCode, token.stderr]).toEqual([3, expect.stringContaining('only https')]);
    expect(authority.requests.length).toBe(requests);
  });

  test.each([
    {
      name: 'http beyond loopback',
      line: 'issuer = "http://id.example"',
      path: 'authority.issuer',
    },
    { name: 'a bad client id', line: 'client_id = "a/b"', path: 'authority.client_id' },
    { name: 'a pin that is none', line: 'tls_pins = ["x"]', path: 'authority.tls_pins.0' },
    {
      name: 'nine pins',
      line: `tls_pins = ${JSON.stringify(Array(9).fill(OTHER_PIN))}`,
      path: 'authority.tls_pins',
    },
    { name: 'an unknown key', line: 'url = "x"', path: 'authority.url' },
  ])('refuses $name', ({ line, path }) => {
    const toml = `state_dir = "s"\n[authority]\n${line}\n[broker]\nurl = "mqtt://localhost"\n`;
    expect(() => parseAgentConfig(toml, '/etc/agent.toml')).toThrow(
      expect.objectContaining({ problems: [expect.objectContaining({ path })] }),
    );
  });
});
