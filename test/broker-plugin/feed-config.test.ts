/** `state_file` and `[feed]` of latchkey-broker: what may be written there, and what `validate` finds. */
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ConfigError, exportPrivatePem, generateKey } from '@latchkey/shared';
import { describe, expect, test } from 'vitest';
import { parseBrokerConfig } from '../../broker-plugin/src/broker/config.ts';
import { openStateFile } from '../../broker-plugin/src/trust/state-file.ts';
import { runProgram, temporaryDir } from '../helpers/processes.ts';

const head = 'issuer = "https://id.example"\naudience = "mqtts://broker.example"\n';
const listen = '[[listen]]\ntype = "tcp"\nport = 0\n';
const state = 'state_file = "/var/lib/state.db"\n';
const other =
  '[[third_party_issuer]]\nname = "o"\nissuer = "https://o.example"\nalgorithms = ["RS256"]\nclient_id_prefix = "o:"\n';
const feed = '[feed]\nclient_id = "broker-1"\nkey_file = "/etc/broker.key"\n';

test('the feed is what the file says, with one hour of staleness', () => {
  const config = parseBrokerConfig(`${head}${state}${listen}${feed}`, 'broker.toml');
  expect(config.stateFile).toBe('/var/lib/state.db');
  expect(config.feed).toEqual({
    ...{ clientId: 'broker-1', keyFile: '/etc/broker.key', maxStalenessSeconds: 3600 },
  });
});

test.each([1, 604_800])('max_staleness_seconds may be %i', (seconds) => {
  const text = `${head}${state}${listen}${feed}max_staleness_seconds = ${seconds}\n`;
  expect(parseBrokerConfig(text, 'broker.toml').feed?.maxStalenessSeconds).toBe(seconds);
});

test.each([
  { name: 'no state file', text: `${head}${listen}${feed}`, path: 'state_file' },
  {
    name: 'no issuer',
    text: `audience = "mqtts://broker.example"\n${state}${listen}${feed}${other}`,
    path: 'issuer',
  },
  { name: 'an empty state file', text: `${head}state_file = ""\n${listen}`, path: 'state_file' },
  {
    name: 'an empty key file',
    text: `${head}${state}${listen}[feed]\nclient_id = "b"\nkey_file = ""\n`,
    path: 'feed.key_file',
  },
  {
    name: 'no client id',
    text: `${head}${state}${listen}[feed]\nkey_file = "k"\n`,
    path: 'feed.client_id',
  },
  {
    name: 'a client id that is none',
    text: `${head}${state}${listen}[feed]\nclient_id = "a b"\nkey_file = "k"\n`,
    path: 'feed.client_id',
  },
  ...[0, 604_801, 1.5].map((seconds) => ({
    name: `max_staleness_seconds = ${seconds}`,
    text: `${head}${state}${listen}${feed}max_staleness_seconds = ${seconds}\n`,
    path: 'feed.max_staleness_seconds',
  })),
  {
    name: 'an unknown key',
    text: `${head}${state}${listen}${feed}token = "x"\n`,
    path: 'feed.token',
  },
])('refused: $name', ({ text, path }) => {
  let problems: ConfigError['problems'] = [];
  try {
    parseBrokerConfig(text, 'broker.toml');
  } catch (error) {
    problems = (error as ConfigError).problems;
  }
  expect(problems.map((problem) => problem.path)).toContain(path);
});

describe('validate', () => {
  interface Files {
    readonly dir: string;
    readonly keyFile: string;
    readonly stateFile: string;
  }
  async function validate(spoil: (files: Files) => void) {
    const dir = temporaryDir();
    const files = { dir, keyFile: join(dir, 'broker.key'), stateFile: join(dir, 'state.db') };
    writeFileSync(files.keyFile, exportPrivatePem(generateKey()), { mode: 0o600 });
    const config = join(dir, 'broker.toml');
    writeFileSync(
      config,
      `${head}state_file = "${files.stateFile}"\n${listen}[feed]\nclient_id = "b"\nkey_file = "${files.keyFile}"\n`,
    );
    spoil(files);
    return runProgram('latchkey-broker', ['validate', '--config', config]);
  }

  test('accepts files that are as they must be, also while a broker runs', async () => {
    const open = await validate(({ stateFile }) => void openStateFile(stateFile));
    expect(open).toMatchObject({ exitCode: 0, stderr: '' });
  });

  test.each<{ name: string; spoil: (files: Files) => void; says: RegExp }>([
    {
      name: 'a key that others can read',
      spoil: ({ keyFile }) => chmodSync(keyFile, 0o644),
      says: /feed\.key_file: .*chmod 600/,
    },
    {
      name: 'a key file that holds something else',
      spoil: ({ keyFile }) => writeFileSync(keyFile, 'hello'),
      says: /feed\.key_file: .*not an unencrypted PKCS#8/,
    },
    {
      name: 'a state file that others can read',
      spoil: ({ stateFile }) => writeFileSync(stateFile, '', { mode: 0o644 }),
      says: /state_file: .*chmod 600/,
    },
    {
      name: 'a folder that is not there',
      spoil: ({ dir, keyFile }) =>
        writeFileSync(
          join(dir, 'broker.toml'),
          `${head}state_file = "${dir}/none/state.db"\n${listen}[feed]\nclient_id = "b"\nkey_file = "${keyFile}"\n`,
        ),
      says: /state_file: .*none is not a folder/,
    },
  ])('refuses $name, with what to do', async ({ spoil, says }) => {
    const { exitCode, stderr } = await validate(spoil);
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(says);
  });
});

test('a broker whose state file is no good says so and ends', async () => {
  const dir = temporaryDir();
  const [stateFile, config] = [join(dir, 'state.db'), join(dir, 'broker.toml')];
  writeFileSync(stateFile, 'hello '.repeat(500), { mode: 0o600 });
  writeFileSync(config, `${head}state_file = "${stateFile}"\n${listen}`);
  const { exitCode, stderr } = await runProgram('latchkey-broker', ['--config', config]);
  expect(exitCode).toBe(2);
  expect(stderr).toMatch(/state\.db is not valid:\n {2}is not the state file of a broker/);
});
