import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAgentConfig } from '@latchkey/agent/daemon';
import { ConfigError } from '@latchkey/shared';
import { expect, test } from 'vitest';
import { ROOT } from '../helpers/processes.ts';

const BROKER = '[broker]\nurl = "mqtt://localhost:1883"\n';
const SOURCE =
  '[[source]]\nname = "t"\nfile = "t.txt"\nevery_seconds = 5\ntopic = "devices/t-42/t"\n';
const ACTION = '[[action]]\nname = "a"\nfilter = "devices/+/c"\ncommand = ["true"]\n';
const LIMIT =
  '[[source.limit]]\nabove = 1\ntopic = "l"\npayload_above = "1"\npayload_below = "0"\n';
const MINIMAL = `state_dir = "s"\n${BROKER}`;
const parse = (toml: string) => parseAgentConfig(toml, '/etc/latchkey/agent.toml');

function problemsOf(toml: string): readonly string[] {
  try {
    parse(toml);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.problems.map(({ path }) => path);
  }
  return [];
}

test('the smallest file gets every default; paths are taken from its folder', () => {
  const config = parse(MINIMAL + SOURCE + ACTION);
  expect(config).toMatchObject({
    stateDir: '/etc/latchkey/s',
    workingDir: '/etc/latchkey',
    logLevel: 'info',
    broker: { resource: 'mqtt://localhost:1883', keepaliveSeconds: 30, isCleanSession: false },
    sources: [
      {
        input: { kind: 'file', path: '/etc/latchkey/t.txt' },
        scale: 1,
        qos: 1,
        isRetained: false,
        limits: [],
      },
    ],
    actions: [{ qos: 1, timeoutSeconds: 10, topic: undefined }],
  });
});

test.each([
  { url: 'mqtts://broker.example', resource: 'mqtts://broker.example' },
  { url: 'wss://broker.example:444/mqtt', resource: 'wss://broker.example:444' },
  { url: 'ws://[::1]:8080/', resource: 'ws://[::1]:8080' },
])('$url: the resource is the url without its path', ({ url, resource }) => {
  const { broker } = parse(`state_dir = "s"\n[broker]\nurl = "${url}"\n`);
  expect(broker.resource).toBe(resource);
});

test('the example file is valid, and so is each option in it that is commented out', () => {
  const text = readFileSync(join(ROOT, 'agent/agent.example.toml'), 'utf8');
  expect(problemsOf(text)).toEqual([]);
  const full = text.replace(/^# ([a-z_]+ = )/gm, '$1');
  expect(full).not.toBe(text);
  const { broker, sources, actions } = parse(full);
  expect(parse(text)).toEqual({ ...parse(full) });
  expect([broker.keepaliveSeconds, sources.length, actions.length]).toEqual([30, 3, 1]);
});

test.each([
  { name: 'no broker', toml: 'state_dir = "s"\n', paths: ['broker'] },
  { name: 'unknown key', toml: `colour = 1\n${MINIMAL}`, paths: ['colour'] },
  { name: 'unknown key inside', toml: `${MINIMAL}tls = true\n`, paths: ['broker.tls'] },
  {
    name: 'all problems at once',
    toml: `log_level = "loud"\n${BROKER}keepalive_seconds = 4\n${SOURCE}qos = 3\n`,
    paths: ['state_dir', 'log_level', 'broker.keepalive_seconds', 'source.0.qos'],
  },
  ...[
    { name: 'both file and command', more: 'command = ["true"]' },
    { name: 'both file and socket', more: 'socket = "tcp://localhost:1"' },
    { name: 'send without socket', more: 'send = "x"' },
    { name: 'until without socket', more: 'until = "end"' },
    { name: 'scale of a text', more: 'reads = "text"\nscale = 2' },
    { name: 'field of a number', more: 'field = "a"' },
    { name: 'limit of a text', more: `reads = "text"\n${LIMIT}` },
    { name: 'at_least_every_seconds without changed_by', more: 'at_least_every_seconds = 60' },
  ].map(({ name, more }) => ({ name, toml: `${MINIMAL}${SOURCE}${more}\n`, paths: ['source.0'] })),
  {
    name: 'changed_by below 0',
    toml: `${MINIMAL}${SOURCE}changed_by = -0.1\n`,
    paths: ['source.0.changed_by'],
  },
  {
    name: 'unknown format',
    toml: `${MINIMAL}${SOURCE}format = "xml"\n`,
    paths: ['source.0.format'],
  },
  {
    name: 'unknown placeholder',
    toml: MINIMAL + SOURCE.replace('t-42', '{device}'),
    paths: ['source.0.topic'],
  },
  {
    name: 'stray brace in a filter',
    toml: MINIMAL + ACTION.replace('/c"', '/c}"'),
    paths: ['action.0.filter'],
  },
  {
    name: 'result without a topic',
    toml: `${MINIMAL}${ACTION}publishes = "result"\n`,
    paths: ['action.0'],
  },
  {
    name: 'format of an output',
    toml: `${MINIMAL}${ACTION}topic = "t"\nformat = "cbor"\n`,
    paths: ['action.0'],
  },
  {
    name: 'no payload at all',
    toml: `${MINIMAL}${ACTION}payloads = []\n`,
    paths: ['action.0.payloads'],
  },
  {
    name: 'max_waiting of 0',
    toml: `${MINIMAL}${ACTION}max_waiting = 0\n`,
    paths: ['action.0.max_waiting'],
  },
  {
    name: 'neither file nor command',
    toml: MINIMAL + SOURCE.replace('file = "t.txt"\n', ''),
    paths: ['source.0'],
  },
  {
    name: 'empty command',
    toml: `${MINIMAL}${ACTION.replace('["true"]', '[]')}`,
    paths: ['action.0.command'],
  },
  {
    name: 'a shell line as command',
    toml: `${MINIMAL}${ACTION.replace('["true"]', '"true"')}`,
    paths: ['action.0.command'],
  },
  {
    name: 'wildcard in a topic name',
    toml: MINIMAL + SOURCE.replace('t-42/t', '+/t'),
    paths: ['source.0.topic'],
  },
  {
    name: 'malformed filter',
    toml: MINIMAL + ACTION.replace('/+/', '/a+/'),
    paths: ['action.0.filter'],
  },
  { name: 'qos 2 for an action', toml: `${MINIMAL}${ACTION}qos = 2\n`, paths: ['action.0.qos'] },
  { name: 'two sources of one name', toml: MINIMAL + SOURCE + SOURCE, paths: ['source'] },
  {
    name: 'every_seconds of 0',
    toml: MINIMAL + SOURCE.replace('= 5', '= 0'),
    paths: ['source.0.every_seconds'],
  },
  { name: 'not TOML', toml: 'state_dir = ', paths: ['line 1, column 13'] },
])('refuses: $name', ({ toml, paths }) => {
  expect(problemsOf(toml)).toEqual(paths);
});

test.each([
  { name: 'no TLS beyond loopback', url: 'mqtt://broker.example:1883' },
  { name: 'no TLS beyond loopback, web socket', url: 'ws://10.0.0.1/mqtt' },
  { name: 'loopback look-alike', url: 'mqtt://localhost.example:1883' },
  { name: 'http', url: 'https://broker.example' },
  { name: 'a password', url: 'mqtts://a:b@broker.example' },
  { name: 'a user name', url: 'mqtts://a@broker.example' },
  { name: 'a path with mqtt', url: 'mqtts://broker.example/x' },
  { name: 'a query', url: 'wss://broker.example/x?y' },
  { name: 'no host', url: 'mqtts://' },
])('refuses broker.url with $name, without echoing it', ({ url }) => {
  const toml = `state_dir = "s"\n[broker]\nurl = "${url}"\n`;
  expect(problemsOf(toml)).toEqual(['broker.url']);
  expect(() => parse(toml)).not.toThrow(url);
});

test.each([
  { socket: 'tcp://localhost:7000', address: { host: 'localhost', port: 7000 } },
  { socket: 'tcp://[::1]:1', address: { host: '::1', port: 1 } },
  { socket: 'tcp://10.0.0.1:65535', address: { host: '10.0.0.1', port: 65_535 } },
  { socket: 'unix:run/s.sock', address: { path: '/etc/latchkey/run/s.sock' } },
  { socket: 'unix:/run/s.sock', address: { path: '/run/s.sock' } },
])('socket = "$socket"', ({ socket, address }) => {
  const { sources } = parse(MINIMAL + SOURCE.replace('file = "t.txt"', `socket = "${socket}"`));
  expect(sources[0]?.input).toEqual({
    ...{ kind: 'socket', address, send: undefined, until: 'line', timeoutSeconds: 10 },
  });
});

test.each([
  '',
  'unix:',
  'localhost:7000',
  'tcp://localhost',
  'tcp://localhost:0',
  'tcp://localhost:65536',
  'tcp://:7000',
  'tcp://a@localhost:7000',
  'tcp://localhost:7000/x',
  'tcp://localhost:7000?x',
  'udp://localhost:7000',
])('refuses socket = "%s"', (socket) => {
  const toml = MINIMAL + SOURCE.replace('file = "t.txt"', `socket = "${socket}"`);
  expect(problemsOf(toml)).toEqual(['source.0.socket']);
});

const IN_BROKER = (lines: string) => `state_dir = "s"\n[broker]\n${lines}`;
const URL_LINE = 'url = "mqtt://localhost:1883"\n';

test('the broker: every default, and paths taken from the folder of the file', () => {
  expect(parse(MINIMAL).broker).toMatchObject({
    caFile: undefined,
    connectTimeoutSeconds: 15,
    answerTimeoutSeconds: 20,
    startSpreadSeconds: 10,
    renewsInSession: false,
    will: undefined,
  });
  const will = '[broker.will]\ntopic = "devices/{client_id}/x"\npayload = ""\n';
  const { broker } = parse(
    IN_BROKER(`urls = ["mqtts://a.example", "wss://b.example/x"]\nca_file = "ca.pem"\n${will}`),
  );
  expect(broker).toMatchObject({
    resource: 'mqtts://a.example',
    caFile: '/etc/latchkey/ca.pem',
    will: { topic: 'devices/{client_id}/x', payload: '', qos: 1, isRetained: false },
  });
  expect(broker.urls.map(({ href }) => href)).toEqual(['mqtts://a.example', 'wss://b.example/x']);
});

test.each([
  { name: 'neither url nor urls', lines: '', paths: ['broker'] },
  { name: 'both', lines: `${URL_LINE}urls = ["mqtt://localhost"]\n`, paths: ['broker'] },
  { name: 'no urls', lines: 'urls = []\n', paths: ['broker.urls'] },
  {
    name: 'nine urls',
    lines: `urls = ${JSON.stringify(Array(9).fill('mqtt://localhost'))}\n`,
    paths: ['broker.urls'],
  },
  {
    name: 'one of them without TLS',
    lines: 'urls = ["mqtt://localhost", "mqtt://a.example"]\n',
    paths: ['broker.urls.1'],
  },
  {
    name: 'one with a password',
    lines: 'urls = ["mqtts://u:p@a.example"]\n',
    paths: ['broker.urls.0'],
  },
  {
    name: 'no time to connect',
    lines: `${URL_LINE}connect_timeout_seconds = 0.9\n`,
    paths: ['broker.connect_timeout_seconds'],
  },
  {
    name: 'too long to connect',
    lines: `${URL_LINE}connect_timeout_seconds = 121\n`,
    paths: ['broker.connect_timeout_seconds'],
  },
  {
    name: 'too long to answer',
    lines: `${URL_LINE}answer_timeout_seconds = 51\n`,
    paths: ['broker.answer_timeout_seconds'],
  },
  {
    name: 'a spread below 0',
    lines: `${URL_LINE}start_spread_seconds = -1\n`,
    paths: ['broker.start_spread_seconds'],
  },
  {
    name: 'a spread above an hour',
    lines: `${URL_LINE}start_spread_seconds = 3601\n`,
    paths: ['broker.start_spread_seconds'],
  },
  {
    name: 'a will without payload',
    lines: `${URL_LINE}[broker.will]\ntopic = "a"\n`,
    paths: ['broker.will.payload'],
  },
  {
    name: 'a will with a wildcard',
    lines: `${URL_LINE}[broker.will]\ntopic = "a/+"\npayload = ""\n`,
    paths: ['broker.will.topic'],
  },
  {
    name: 'a will with another placeholder',
    lines: `${URL_LINE}[broker.will]\ntopic = "{labels.site}"\npayload = ""\n`,
    paths: ['broker.will.topic'],
  },
  {
    name: 'a will of QoS 3',
    lines: `${URL_LINE}[broker.will]\ntopic = "a"\npayload = ""\nqos = 3\n`,
    paths: ['broker.will.qos'],
  },
  {
    name: 'a will of 1025 characters',
    lines: `${URL_LINE}[broker.will]\ntopic = "a"\npayload = "${'x'.repeat(1025)}"\n`,
    paths: ['broker.will.payload'],
  },
])('the broker is refused with $name', ({ lines, paths }) => {
  expect(problemsOf(IN_BROKER(lines))).toEqual(paths);
});

test('the broker is accepted at the other side of each bound', () => {
  const bounds =
    'connect_timeout_seconds = 120\nanswer_timeout_seconds = 50\nstart_spread_seconds = 3600\n';
  const eight = `urls = ${JSON.stringify(Array(8).fill('mqtt://localhost'))}\n`;
  const will = `[broker.will]\ntopic = "a"\npayload = "${'x'.repeat(1024)}"\nqos = 2\nretain = true\n`;
  expect(problemsOf(IN_BROKER(eight + bounds + will))).toEqual([]);
});
