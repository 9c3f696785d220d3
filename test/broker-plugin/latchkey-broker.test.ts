/** The program `latchkey-broker`: its configuration, its command line and its life. */
import { type EventEmitter, once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { get } from 'node:http';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Duplex, PassThrough } from 'node:stream';
import { ConfigError, systemClock } from '@latchkey/shared';
import { type IClientOptions, MqttClient } from 'mqtt';
import { expect, onTestFinished, test } from 'vitest';
import { createWebSocketStream, WebSocket } from 'ws';
import { parseBrokerConfig } from '../../broker-plugin/src/broker/config.ts';
import { runProgram } from '../../broker-plugin/src/cli/program.ts';
import { DEFAULT_LIMITS } from '../../broker-plugin/src/options.ts';
import { DEFAULT_PROTECTION } from '../../broker-plugin/src/protection-options.ts';
import { BROKER, type IssuerServer, startIssuer } from '../helpers/issuer-server.ts';
import { connectPacket, encoded, overTcp } from '../helpers/mqtt-wire.ts';

const EXAMPLE = new URL('../../broker-plugin/broker.example.toml', import.meta.url);
const head = 'issuer = "https://id.example"\naudience = "mqtts://broker.example"\n';
const listen = '[[listen]]\ntype = "tcp"\nport = 1883\n';

test('broker.example.toml shows every option, and what is commented out is the default', async () => {
  const text = await readFile(EXAMPLE, 'utf8');
  const config = parseBrokerConfig(text, 'broker.example.toml');
  expect(config.limits).toEqual(DEFAULT_LIMITS);
  expect(config.protection).toEqual(DEFAULT_PROTECTION);
  expect(config.monitor).toBeUndefined();
  expect(config.issuerCaFile).toBeUndefined();
  expect(config.stateFile).toBeUndefined();
  expect(config.feed).toBeUndefined();
  expect(config.persistence).toEqual({ type: 'memory' });
  const uncommented = text.replace(/^# ([a-z_]+ = |\[)/gm, '$1');
  expect(uncommented).not.toBe(text);
  expect(parseBrokerConfig(uncommented, 'broker.example.toml')).toEqual({
    ...config,
    issuerCaFile: '/etc/latchkey/issuer-ca.pem',
    stateFile: '/var/lib/latchkey-broker/state.db',
    feed: {
      clientId: 'broker-1',
      keyFile: '/etc/latchkey/broker-1.key',
      maxStalenessSeconds: 3600,
    },
    listen: [
      ...config.listen,
      {
        type: 'tls',
        host: '0.0.0.0',
        port: 8883,
        tls: {
          certificateFile: '/etc/latchkey/broker.crt',
          keyFile: '/etc/latchkey/broker.key',
        },
      },
    ],
    monitor: { host: '127.0.0.1', port: 9401 },
    thirdPartyIssuers: [
      {
        ...{ name: 'keycloak', issuer: 'https://keycloak.example/realms/factory' },
        jwksUri: 'https://keycloak.example/realms/factory/protocol/openid-connect/certs',
        ...{ caFile: '/etc/latchkey/keycloak-ca.pem', audience: 'mqtt', algorithms: ['RS256'] },
        ...{ types: ['at+jwt'], scopeClaim: 'scope', clientIdClaim: 'client_id' },
        ...{ clientIdPrefix: 'keycloak:', acceptTopicScopes: false },
        scopeAliases: { telemetry: ['pub:devices/{client_id}/telemetry/#'] },
        requiredClaims: { gty: 'client-credentials' },
        maxTokenLifetimeSeconds: 86_400,
      },
    ],
  });
  const names = [...uncommented.matchAll(/^([a-z_]+) = /gm)].map(([, name]) => name);
  expect(new Set(names)).toEqual(
    new Set([
      'issuer',
      'audience',
      'issuer_ca_file',
      'dollar_topics',
      'token_in',
      'service_instances',
      'grace_seconds',
      'state_file',
      'client_id',
      'max_staleness_seconds',
      'log_level',
      'drain_seconds',
      'max_connections',
      'pending_connects',
      'connect_bytes',
      'connect_timeout_seconds',
      'authenticate_timeout_seconds',
      'packet_bytes',
      'max_keepalive_seconds',
      'filters_per_subscribe',
      'queued_messages',
      'known_tokens',
      'connections_per_second',
      'connection_burst',
      'failures_per_client',
      'failures_per_address',
      'failure_window_seconds',
      'longest_ban_seconds',
      'exempt_addresses',
      'name',
      'jwks_uri',
      'ca_file',
      'algorithms',
      'types',
      'scope_claim',
      'client_id_claim',
      'client_id_prefix',
      'scope_aliases',
      'accept_topic_scopes',
      'required_claims',
      'max_token_lifetime_seconds',
      'certificate_file',
      'key_file',
      'type',
      'host',
      'port',
    ]),
  );
});

function problems(text: string): readonly { path: string; message: string }[] {
  try {
    parseBrokerConfig(text, 'broker.toml');
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

test('all problems of a file are listed at once', () => {
  const text =
    'issuer = "http://id.example"\naudience = "x y"\nlog_level = "loud"\nfoo = 1\n' +
    '[limits]\npacket_bytes = 0\nbar = 2\n[[listen]]\ntype = "tcp"\nhost = "0.0.0.0"\nport = 70000\n';
  expect(
    problems(text)
      .map(({ path }) => path)
      .sort(),
  ).toEqual([
    'audience',
    'foo',
    'issuer',
    'limits.bar',
    'limits.packet_bytes',
    'listen.0.host',
    'listen.0.port',
    'log_level',
  ]);
});

test.each([
  { value: '["$app", "$other"]', expected: [] },
  { value: '["$SYS"]', expected: ['dollar_topics.0'] },
  { value: '["$app", "app"]', expected: ['dollar_topics.1'] },
  {
    value: `[${[...Array(17).keys()].map((i) => `"$a${i}"`).join(', ')}]`,
    expected: ['dollar_topics'],
  },
])('dollar_topics = $value', ({ value, expected }) => {
  const text = `issuer = "https://a"\naudience = "mqtts://b"\ndollar_topics = ${value}\n${listen}`;
  expect(problems(text).map(({ path }) => path)).toEqual(expected);
});

const thirdParty = (changes: Readonly<Record<string, string | undefined>> = {}) => {
  const options = { name: '"a"', issuer: '"https://a"', algorithms: '["RS256"]', ...changes };
  const lines = Object.entries(options).filter(([, value]) => value !== undefined);
  return `[[third_party_issuer]]\n${lines.map(([name, value]) => `${name} = ${value}\n`).join('')}`;
};

test('what a third party leaves out has its default, and no authority of our own is needed', () => {
  const text = `audience = "mqtts://b"\n${listen}${thirdParty()}`;
  const { issuer, thirdPartyIssuers } = parseBrokerConfig(text, 'broker.toml');
  expect(issuer).toBeUndefined();
  expect(thirdPartyIssuers).toEqual([
    {
      ...{ name: 'a', issuer: 'https://a', algorithms: ['RS256'], types: ['at+jwt'] },
      ...{ jwksUri: undefined, caFile: undefined, audience: undefined, clientIdPrefix: undefined },
      ...{ scopeClaim: 'scope', clientIdClaim: 'client_id', acceptTopicScopes: false },
      ...{ maxTokenLifetimeSeconds: 86_400, scopeAliases: {}, requiredClaims: {} },
    },
  ]);
});

test.each([
  { name: 'no algorithms', changes: { algorithms: undefined }, path: 'algorithms' },
  { name: 'no name', changes: { name: undefined }, path: 'name' },
  { name: 'no issuer', changes: { issuer: undefined }, path: 'issuer' },
  { name: 'an unknown algorithm', changes: { algorithms: '["none"]' }, path: 'algorithms.0' },
  { name: 'an empty list of algorithms', changes: { algorithms: '[]' }, path: 'algorithms' },
  { name: 'an unknown type', changes: { types: '["*"]' }, path: 'types.0' },
  { name: 'keys in clear text', changes: { jwks_uri: '"http://a/keys"' }, path: 'jwks_uri' },
  { name: 'an unknown option', changes: { jwks: '"https://a"' }, path: 'jwks' },
  {
    name: 'no prefix beside our own',
    changes: { client_id_prefix: '""' },
    path: 'client_id_prefix',
  },
  {
    name: 'a scope that cannot be',
    changes: { scope_aliases: '{ x = ["pub:a/#/b"] }' },
    path: 'scope_aliases.x',
  },
  { name: 'a claim that is a number', changes: { scope_claim: '1' }, path: 'scope_claim' },
])('a third party with $name is refused', ({ changes, path }) => {
  const paths = problems(`${head}${listen}${thirdParty(changes)}`).map((one) => one.path);
  expect(paths).toEqual([`third_party_issuer.0.${path}`]);
});

test.each([
  { name: 'no issuer', text: `audience = "mqtts://b"\n${listen}`, path: 'issuer' },
  { name: 'no audience', text: `issuer = "https://id.example"\n${listen}`, path: 'audience' },
  { name: 'no listener', text: head, path: 'listen' },
  { name: 'an empty list of listeners', text: `${head}listen = []\n`, path: 'listen' },
  { name: 'the same port twice', text: `${head}${listen}${listen}`, path: 'listen' },
  { name: 'no port', text: `${head}[[listen]]\ntype = "tcp"\n`, path: 'listen.0.port' },
  {
    name: 'a listener of no known type',
    text: `${head}[[listen]]\ntype = "udp"\nport = 1883\n`,
    path: 'listen.0.type',
  },
  {
    name: 'TLS without a key',
    text: `${head}[[listen]]\ntype = "tls"\nport = 8883\ncertificate_file = "a"\n`,
    path: 'listen.0.key_file',
  },
  {
    name: 'a key where there is no TLS',
    text: `${head}[[listen]]\ntype = "tcp"\nport = 1883\nkey_file = "a"\n`,
    path: 'listen.0.key_file',
  },
  { name: 'no port for http', text: `${head}${listen}[http]\n`, path: 'http.port' },
  {
    name: 'http beyond loopback',
    text: `${head}${listen}[http]\nhost = "0.0.0.0"\nport = 9401\n`,
    path: 'http.host',
  },
  {
    name: 'a fraction of a byte',
    text: `${head}[limits]\npacket_bytes = 1.5\n${listen}`,
    path: 'limits.packet_bytes',
  },
  {
    name: 'a CONNECT of 0 bytes',
    text: `${head}[limits]\nconnect_bytes = 0\n${listen}`,
    path: 'limits.connect_bytes',
  },
  { name: 'a token elsewhere', text: `token_in = "will"\n${head}${listen}`, path: 'token_in' },
  {
    name: 'instances of devices',
    text: `service_instances = "devices"\n${head}${listen}`,
    path: 'service_instances',
  },
  {
    name: 'a grace of 301 s',
    text: `grace_seconds = 301\n${head}${listen}`,
    path: 'grace_seconds',
  },
  {
    name: 'no failures before a ban',
    text: `${head}[protection]\nfailures_per_client = 0\n${listen}`,
    path: 'protection.failures_per_client',
  },
  {
    name: 'a ban of over a day',
    text: `${head}[protection]\nlongest_ban_seconds = 86401\n${listen}`,
    path: 'protection.longest_ban_seconds',
  },
  {
    name: 'an exempt address that is none',
    text: `${head}[protection]\nexempt_addresses = ["::1", "10.0.0.0/33"]\n${listen}`,
    path: 'protection.exempt_addresses.1',
  },
  ...['0.0.0.0', '::', '192.168.1.1', 'broker.example', ''].map((host) => ({
    name: `the host "${host}"`,
    text: `${head}[[listen]]\ntype = "tcp"\nhost = "${host}"\nport = 1883\n`,
    path: 'listen.0.host',
  })),
])('a file with $name is refused', ({ text, path }) => {
  expect(problems(text).map((problem) => problem.path)).toEqual([path]);
});

test('listening beyond loopback without TLS is refused with the reason', () => {
  const [problem] = problems(`${head}[[listen]]\ntype = "tcp"\nhost = "0.0.0.0"\nport = 1883\n`);
  expect(problem?.message).toContain('TLS');
});

test('--insecure listens beyond loopback without TLS, and the log warns', async () => {
  const issuer = await startIssuer(systemClock);
  const config = await file(
    `issuer = "${issuer.issuer}"\naudience = "${BROKER}"\n[[listen]]\ntype = "tcp"\nhost = "0.0.0.0"\nport = 0\n`,
  );
  for (const args of [
    ['--config', config],
    ['validate', '--config', config],
  ]) {
    const refused = run(...args);
    expect(await refused.exitCode).toBe(2);
    expect(refused.err()).toContain('listen.0.host: is reached from other machines');
    expect(refused.err()).toContain('--insecure');
  }
  expect(await run('validate', '--insecure', '--config', config).exitCode).toBe(0);
  const broker = run('--insecure', '--config', config);
  expect(await broker.event('broker.insecure')).toMatchObject({ level: 40, host: '0.0.0.0' });
  const { port } = await broker.event('broker.listening');
  await overTcp(port as number);
});

test('--insecure warns of no listener that stays on this machine', async () => {
  const issuer = await startIssuer(systemClock);
  const broker = run('--insecure', '--config', await file(tcpAndWebSocket(issuer)));
  await broker.event('keys.updated');
  expect(broker.out()).not.toContain('broker.insecure');
});

test.each(['127.0.0.1', '127.1.2.3', 'localhost', '::1', '[::1]'])(
  'the host %s is loopback',
  (host) => {
    expect(problems(`${head}[[listen]]\ntype = "tcp"\nhost = "${host}"\nport = 1883\n`)).toEqual(
      [],
    );
  },
);

interface Run {
  readonly exitCode: Promise<number>;
  readonly stop: AbortController;
  out(): string;
  err(): string;
  /** The first log line with that event. */
  event(name: string): Promise<Record<string, unknown>>;
}

function run(...args: string[]): Run {
  const stop = new AbortController();
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  let out = '';
  let err = '';
  stdout.on('data', (chunk) => {
    out += chunk;
  });
  stderr.on('data', (chunk) => {
    err += chunk;
  });
  const exitCode = runProgram(args, { stdout, stderr, clock: systemClock, signal: stop.signal });
  onTestFinished(async () => {
    stop.abort();
    await exitCode;
  });
  return {
    exitCode,
    stop,
    out: () => out,
    err: () => err,
    event: async (name) => {
      for (;;) {
        const line = out.split('\n').find((one) => one.includes(`"event":"${name}"`));
        if (line !== undefined) return JSON.parse(line);
        await Promise.race([once(stdout, 'data'), exitCode]);
      }
    },
  };
}

async function file(text: string): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'latchkey-broker-'));
  onTestFinished(() => rm(dir, { recursive: true }));
  const path = join(dir, 'broker.toml');
  await writeFile(path, text);
  return path;
}

async function started(text: (issuer: IssuerServer) => string = tcpAndWebSocket) {
  const issuer = await startIssuer(systemClock);
  const broker = run('--config', await file(text(issuer)));
  const { port } = await broker.event('broker.listening');
  return { issuer, broker, port: port as number };
}

const tcpAndWebSocket = ({ issuer }: IssuerServer) =>
  `issuer = "${issuer}"\naudience = "${BROKER}"\n[[listen]]\ntype = "tcp"\nport = 0\n` +
  '[[listen]]\ntype = "websocket"\nport = 0\n';

async function webSocketPort(broker: Run): Promise<number> {
  for (;;) {
    const line = broker
      .out()
      .split('\n')
      .find((one) => one.includes('"type":"websocket"'));
    if (line !== undefined) return JSON.parse(line).port;
    await broker.event('keys.updated');
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** MQTT.js would make it itself, were it not for the resolve conditions that tests run with. */
function overWebSocket(port: number): Duplex {
  const stream = createWebSocketStream(new WebSocket(`ws://127.0.0.1:${port}`, ['mqtt']));
  stream.once('end', () => stream.destroy());
  return stream;
}

test.each(['mqtt', 'ws'] as const)(
  'MQTT.js (%s) connects, publishes, subscribes; SIGTERM ends with 0',
  async (scheme) => {
    const { issuer, broker, port } = await started();
    const at = scheme === 'mqtt' ? port : await webSocketPort(broker);
    const options: IClientOptions = {
      clientId: 't-42',
      username: 't-42',
      password: await issuer.token(),
      reconnectPeriod: 0,
    };
    const client = new MqttClient(
      () => (scheme === 'mqtt' ? connect(at, '127.0.0.1') : overWebSocket(at)),
      options,
    );
    await once(client as unknown as EventEmitter, 'connect');
    const message = new Promise<string>((resolve) => {
      client.on('message', (topic, payload) => resolve(`${topic} ${payload}`));
    });
    await client.subscribeAsync('devices/t-42/#', { qos: 1 });
    await client.publishAsync('devices/t-42/x', 'hello', { qos: 1 });
    expect(await message).toBe('devices/t-42/x hello');
    await expect(client.subscribeAsync('devices/#')).rejects.toThrow();
    const closed = once(client as unknown as EventEmitter, 'close');
    broker.stop.abort();
    expect(await broker.exitCode).toBe(0);
    await closed;
    await expect(overTcp(port)).rejects.toThrow();
  },
);

test('a WebSocket without the subprotocol mqtt is refused', async () => {
  const { broker } = await started();
  const at = await webSocketPort(broker);
  for (const protocols of [[], ['chat']]) {
    const socket = new WebSocket(`ws://127.0.0.1:${at}`, protocols);
    const [error] = (await once(socket, 'error')) as [Error];
    expect(error.message).toContain('400');
  }
});

test('plain HTTP on the WebSocket port is told to upgrade', async () => {
  const { broker } = await started();
  const at = await webSocketPort(broker);
  const [response] = await once(get({ port: at, host: '127.0.0.1' }), 'response');
  response.resume();
  expect(response.statusCode).toBe(426);
});

test('a text message on a WebSocket closes it, even when its bytes are a CONNECT', async () => {
  const { broker } = await started();
  const at = await webSocketPort(broker);
  const bytes = encoded({
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 4,
    clientId: 't-42',
    clean: true,
    keepalive: 60,
  });
  const answers: number[] = [];
  for (const message of [Buffer.from(bytes).toString('latin1'), bytes]) {
    const socket = new WebSocket(`ws://127.0.0.1:${at}`, ['mqtt']);
    socket.on('error', () => undefined);
    socket.on('message', (data) => answers.push(...(data as Buffer)));
    await once(socket, 'open');
    socket.send(message);
    await once(socket, 'close');
  }
  expect(answers).toEqual([0x20, 2, 0, 4]); // of the binary one alone
});

test('a WebSocket message beyond the bound closes the connection', async () => {
  const { broker } = await started();
  const socket = new WebSocket(`ws://127.0.0.1:${await webSocketPort(broker)}`, ['mqtt']);
  socket.on('error', () => undefined);
  await once(socket, 'open');
  socket.send(Buffer.alloc(262_145));
  const [code] = await once(socket, 'close');
  expect(code).toBe(1009);
});

test('the broker starts while the authority is down, and says so', async () => {
  const { broker, port } = await started(
    () =>
      `issuer = "http://127.0.0.1:9"\naudience = "${BROKER}"\n[[listen]]\ntype = "tcp"\nport = 0\n`,
  );
  expect(await broker.event('keys.unavailable')).toMatchObject({ level: 40, keptKeys: 0 });
  await overTcp(port);
});

test('a taken port is told with the entry that wanted it, and the exit code is 1', async () => {
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  onTestFinished(() => {
    taken.close();
  });
  const { port } = taken.address() as AddressInfo;
  const config = await file(
    `${head}[[listen]]\ntype = "tcp"\nport = 0\n[[listen]]\ntype = "websocket"\nport = ${port}\n`,
  );
  const broker = run('--config', config);
  expect(await broker.exitCode).toBe(1);
  expect(broker.err()).toBe(
    `latchkey-broker: listen.1 (websocket 127.0.0.1:${port}): the port is taken\n`,
  );
});

test('validate says that a file is valid, and lists what is not', async () => {
  const good = run('validate', '--config', await file(head + listen));
  expect(await good.exitCode).toBe(0);
  expect(good.out()).toContain('is valid');
  const bad = run('validate', '--config', await file('issuer = 1\n'));
  expect(await bad.exitCode).toBe(2);
  expect(bad.err()).toMatch(/issuer: .*\n.*audience: is missing\n.*listen: is missing/);
});

test.each([
  { args: ['--config', '/nowhere/broker.toml'], text: 'ENOENT' },
  { args: [], text: '--config' },
  { args: ['dance', '--config', '/nowhere'], text: 'too many arguments' },
  { args: ['--config', '/nowhere', '--nonsense'], text: '--nonsense' },
])('$args is a wrong use: exit code 2', async ({ args, text }) => {
  const broker = run(...args);
  expect(await broker.exitCode).toBe(2);
  expect(broker.err()).toContain(text);
});

test.each([[], ['run'], ['validate'], ['healthcheck']])(
  '--help of %s shows an example',
  async (...command) => {
    const broker = run(...command.flat(), '--help');
    expect(await broker.exitCode).toBe(0);
    expect(broker.out()).toMatch(
      /Example:\n {2}latchkey-broker .*--config \/etc\/latchkey\/broker.toml/,
    );
  },
);

test('--version prints the version of the package', async () => {
  const broker = run('--version');
  expect(await broker.exitCode).toBe(0);
  expect(broker.out()).toMatch(/^\d+\.\d+\.\d+\n$/);
});

const withHttp = (source: IssuerServer) => `${tcpAndWebSocket(source)}[http]\nport = 0\n`;

async function monitorUrl(broker: Run): Promise<string> {
  for (;;) {
    const line = broker
      .out()
      .split('\n')
      .find((one) => one.includes('"type":"http"'));
    if (line !== undefined) return `http://127.0.0.1:${JSON.parse(line).port}`;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test('/healthz, /readyz and /metrics answer, and count what happened', async () => {
  const { issuer, broker, port } = await started(withHttp);
  const url = await monitorUrl(broker);
  await broker.event('keys.updated');
  const health = await fetch(`${url}/healthz`);
  expect([health.status, await health.json()]).toEqual([200, { status: 'ok' }]);
  const ready = await fetch(`${url}/readyz`);
  expect([ready.status, await ready.json()]).toEqual([200, { status: 'ready' }]);

  const good = await overTcp(port);
  good.send(connectPacket(await issuer.token()));
  await good.next('connack');
  const bad = await overTcp(port);
  bad.send(connectPacket('guess'));
  await bad.closed;
  const answer = await fetch(`${url}/metrics`);
  expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
  const text = await answer.text();
  expect(text).toContain('\nlatchkey_connections_accepted_total 1\n');
  expect(text).toContain('\nlatchkey_connections_refused_total{reason="invalid_token"} 1\n');
  expect(text).toContain('\nlatchkey_sessions 1\n');
  expect(text).toContain('\nlatchkey_known_tokens 1\n');
  expect(text).toContain(`\nlatchkey_issuer_keys{issuer="${issuer.issuer}"} 1\n`);
  for (const line of text.trimEnd().split('\n')) {
    expect(line).toMatch(
      /^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{(reason="[a-z_-]+"|issuer="[^"\\]+")\})? [0-9.e+-]+)$/,
    );
  }
});

test.each([
  { method: 'GET', path: '/', status: 404 },
  { method: 'GET', path: '/metrics/', status: 404 },
  { method: 'GET', path: '/metrics?x=1', status: 200 },
  { method: 'HEAD', path: '/metrics', status: 200 },
  { method: 'POST', path: '/metrics', status: 405 },
])('$method $path is answered with $status', async ({ method, path, status }) => {
  const { broker } = await started(withHttp);
  const answer = await fetch(`${await monitorUrl(broker)}${path}`, { method });
  expect(answer.status).toBe(status);
});

test('a broker without keys of its issuer runs and is not ready', async () => {
  const issuer = await startIssuer(systemClock);
  issuer.answer = (_path, response) => {
    response.writeHead(503).end();
    return true;
  };
  const broker = run('--config', await file(withHttp(issuer)));
  const url = await monitorUrl(broker);
  await broker.event('keys.unavailable');
  expect((await fetch(`${url}/healthz`)).status).toBe(200);
  const ready = await fetch(`${url}/readyz`);
  expect([ready.status, await ready.json()]).toEqual([503, { status: 'unavailable' }]);
});

test('a port for http that is taken ends the program with its entry named', async () => {
  const { port } = await started();
  const issuer = await startIssuer(systemClock);
  const broker = run('--config', await file(`${tcpAndWebSocket(issuer)}[http]\nport = ${port}\n`));
  expect(await broker.exitCode).toBe(1);
  expect(broker.err()).toContain(`http (127.0.0.1:${port}): the port is taken`);
});

test('without [http] nothing but the listeners is open', async () => {
  const { broker } = await started();
  await webSocketPort(broker);
  expect(broker.out()).not.toContain('"type":"http"');
});
