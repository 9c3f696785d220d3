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
  expect([broker.keepaliveSeconds, sources.length, actions.length]).toEqual([30, 2, 1]);
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
  {
    name: 'both file and command',
    toml: `${MINIMAL}${SOURCE}command = ["true"]\n`,
    paths: ['source.0'],
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
