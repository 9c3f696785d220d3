/** Faults between a device and the rest of the world, with real processes; the table: docs/faults.md. */
import { appendFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { initDataDir, loadConfig, openDataDir } from '@latchkey/authority';
import {
  importPublicJwk,
  parseClientId,
  parseIssuer,
  parsePermissionName,
  parseResourceId,
  parseRoleName,
  systemClock,
} from '@latchkey/shared';
import { expect, test } from 'vitest';
import { startAgentStack } from '../helpers/agent-stack.ts';
import { newSelfSigned } from '../helpers/certificate.ts';
import {
  freePort,
  mustRun,
  type Running,
  startProgram,
  temporaryDir,
} from '../helpers/processes.ts';
import { type SilentProxy, startSilentProxy } from '../helpers/silent-proxy.ts';

const TOPIC = 'devices/t-42/telemetry/temperature';

/** `detail` of the next line of that state that the agent prints. */
function nextState(agent: Running, state: string): Promise<string> {
  const before = new Set(agent.lines);
  const found = agent
    .line((line) => !before.has(line) && line.includes(`"state":"${state}"`))
    .then((line) => String((JSON.parse(line) as { readonly detail?: unknown }).detail));
  found.catch(() => undefined); // whoever awaits it is told
  return found;
}

const messages = (count: number) => Array.from({ length: count }, (_, i) => `${i}`);

test('authority down at start: messages are kept, the status says why, and its return brings the agent online', async () => {
  const stack = await startAgentStack();
  const device = await stack.enroll('t-42');
  await stack.authority.stop('SIGKILL');
  const agent = device.start();
  expect(await nextState(agent, 'backing-off')).toMatch(/cannot reach .*; next try in \d+ s/);
  expect(await device.socket.publish({ topic: TOPIC, payload: 'x' })).toMatchObject({
    status: 202,
    body: { is_acknowledged: false },
  });
  expect(await device.socket.status()).toMatchObject({ body: { outbox: { messages: 1 } } });
  const heard: string[] = [];
  const online = nextState(agent, 'online');
  await stack.startAuthority();
  await stack.listen((_topic, payload) => heard.push(payload));
  await online;
  await device.socket.publish({ topic: TOPIC, payload: 'y', wait: true });
  await expect.poll(() => heard, { timeout: 10_000 }).toEqual(['x', 'y']);
  expect(await agent.stop()).toBe(0);
});

test('an authority that accepts and never answers is given up, and asked again', async () => {
  let proxy: SilentProxy | undefined;
  const stack = await startAgentStack({
    proxy: async (port) => {
      proxy = await startSilentProxy(port);
      return proxy.port;
    },
  });
  const device = await stack.enroll('t-42');
  proxy?.silence();
  const agent = device.start();
  expect(await nextState(agent, 'backing-off')).toMatch(/cannot reach .*next try/);
  const online = nextState(agent, 'online');
  proxy?.heal();
  await online;
});

test('broker down: messages are kept, and arrive in order when it is back', async () => {
  const stack = await startAgentStack();
  const device = await stack.enroll('t-42');
  const agent = device.start();
  await nextState(agent, 'online');
  const lost = nextState(agent, 'backing-off');
  await stack.broker.stop('SIGKILL');
  expect(await lost).toMatch(/the broker closed the connection.*; next try in \d+ s/);
  for (const payload of messages(20)) {
    expect(await device.socket.publish({ topic: TOPIC, payload })).toMatchObject({ status: 202 });
  }
  const heard: string[] = [];
  await stack.startBroker();
  await stack.listen((_topic, payload) => heard.push(payload));
  await expect.poll(() => heard, { timeout: 60_000 }).toEqual(messages(20));
});

test('half-open TCP: a line that goes silent is noticed by keepalive, and what was sent into it is sent again', async () => {
  const stack = await startAgentStack();
  const device = await stack.enroll('t-42');
  const heard: string[] = [];
  await stack.listen((_topic, payload) => heard.push(payload));
  const proxy = await startSilentProxy(stack.brokerPort);
  const agent = device.start({
    brokerUrl: `mqtt://localhost:${proxy.port}`,
    config: 'keepalive_seconds = 5\n',
  });
  await nextState(agent, 'online');
  const lost = nextState(agent, 'backing-off');
  proxy.silence();
  const begunAt = performance.now();
  for (const payload of messages(5)) await device.socket.publish({ topic: TOPIC, payload });
  expect(await lost).toMatch(/^connection lost: /);
  expect(performance.now() - begunAt).toBeLessThan(18_000);
  expect(heard).toEqual([]);
  proxy.heal();
  await expect.poll(() => heard, { timeout: 30_000 }).toEqual(messages(5));
});

test('a broker that accepts and never answers is given up, and used once it answers', async () => {
  const stack = await startAgentStack();
  const device = await stack.enroll('t-42');
  const proxy = await startSilentProxy(stack.brokerPort);
  proxy.silence();
  const agent = device.start({ brokerUrl: `mqtt://localhost:${proxy.port}` });
  expect(await nextState(agent, 'backing-off')).toMatch(/^cannot reach the broker .*next try/);
  expect(agent.lines.filter((line) => line.includes('"online"'))).toEqual([]);
  const online = nextState(agent, 'online');
  proxy.heal();
  await online;
});

test('certificate of the broker expired: nothing is sent, the status says so, and a new one is enough', async () => {
  const dir = temporaryDir();
  const port = await freePort();
  const files = {
    certificate: join(dir, 'c.pem'),
    key: join(dir, 'k.pem'),
    ca: join(dir, 'ca.pem'),
  };
  const use = ({ cert, key }: { readonly cert: string; readonly key: string }) => {
    writeFileSync(files.certificate, cert);
    writeFileSync(files.key, key, { mode: 0o600 });
  };
  const [expired, renewed] = [newSelfSigned(-1), newSelfSigned()];
  writeFileSync(files.ca, expired.cert + renewed.cert);
  use(expired);
  const stack = await startAgentStack({
    brokerConfig: `[[listen]]\ntype = "tls"\nhost = "127.0.0.1"\nport = ${port}\ncertificate_file = "${files.certificate}"\nkey_file = "${files.key}"\n`,
  });
  const device = await stack.enroll('t-42');
  const agent = device.start({
    brokerUrl: `mqtts://localhost:${port}`,
    environment: { NODE_EXTRA_CA_CERTS: files.ca },
  });
  expect(await nextState(agent, 'backing-off')).toMatch(/certificate has expired; next try/);
  expect(stack.broker.lines.some((line) => line.includes('session.'))).toBe(false);
  await device.socket.publish({ topic: TOPIC, payload: 'x' });
  use(renewed);
  const online = nextState(agent, 'online');
  stack.broker.child.kill('SIGHUP');
  await stack.broker.event('listener.reloaded');
  await online;
  expect(await device.socket.publish({ topic: TOPIC, payload: 'y', wait: true })).toMatchObject({
    status: 200,
  });
});

test('certificate of the authority expired: no assertion is sent, the status says so, and a new one is enough', async () => {
  const dir = temporaryDir();
  const [dataDir, stateDir] = [join(dir, 'authority'), join(dir, 't-42')];
  const issuer = parseIssuer(`https://localhost:${await freePort()}`);
  const resource = parseResourceId('mqtt://localhost:1');
  const jwk = await mustRun('latchkey-agent', ['key', 'create', '--state-dir', stateDir]);
  await initDataDir({ dataDir, issuer, clock: systemClock });
  const { registry } = await openDataDir({
    ...{ dataDir, config: loadConfig(dataDir), clock: systemClock },
  });
  const [name, role] = [parsePermissionName('telemetry'), parseRoleName('thermostat')];
  await registry.createResource({ identifier: resource, kind: 'mqtt', tokenTtlSeconds: 900 });
  await registry.createPermission({ name, resource, scopes: ['pub:devices/{client_id}/#'] });
  await registry.createRole({ name: role, permissions: [name] });
  await registry.createClient({
    ...{ id: parseClientId('t-42'), kind: 'device', roles: [role], labels: new Map() },
    key: importPublicJwk(JSON.parse(jwk)),
  });
  await registry.close();
  const ca = join(dir, 'ca.pem');
  const use = ({ cert, key }: { readonly cert: string; readonly key: string }) => {
    writeFileSync(join(dataDir, 'c.pem'), cert);
    writeFileSync(join(dataDir, 'k.pem'), key, { mode: 0o600 });
  };
  const [expired, renewed] = [newSelfSigned(-1), newSelfSigned()];
  writeFileSync(ca, expired.cert + renewed.cert);
  use(expired);
  appendFileSync(
    join(dataDir, 'authority.toml'),
    '[tls]\ncertificate_file = "c.pem"\nkey_file = "k.pem"\n',
  );
  const { port } = new URL(issuer);
  const authority = startProgram('latchkey', [
    ...['serve', '--data-dir', dataDir, '--listen', `127.0.0.1:${port}`],
  ]);
  await authority.event('authority.listening');
  const file = join(dir, 'agent.toml');
  writeFileSync(
    file,
    `state_dir = "${stateDir}"\n[authority]\nissuer = "${issuer}"\nclient_id = "t-42"\n[broker]\nurl = "${resource}"\n`,
  );
  const agent = startProgram('latchkey-agent', ['run', '--config', file], {
    environment: { NODE_EXTRA_CA_CERTS: ca },
  });
  expect(await nextState(agent, 'backing-off')).toMatch(/certificate has expired.*; next try/);
  expect(authority.lines.some((line) => line.includes('token'))).toBe(false);
  use(renewed);
  authority.child.kill('SIGHUP');
  await authority.event('tls.reloaded');
  await agent.event('token.obtained');
});
