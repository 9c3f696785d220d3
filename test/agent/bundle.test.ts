/** What a device installs: the program as one file, with nothing beside it but the native addon. */
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { startLiveStack } from '../helpers/live-stack.ts';
import { ROOT, runCommand, startProgram, temporaryDir } from '../helpers/processes.ts';

/** Builds the bundle into an empty folder and returns its program. */
async function buildBundle() {
  const dir = temporaryDir();
  const script = join(ROOT, 'agent/scripts/build-bundle.mjs');
  const { exitCode, stderr } = await runCommand(process.execPath, [script, dir]);
  expect([exitCode, stderr]).toEqual([0, '']);
  const file = join(dir, 'latchkey-agent.cjs');
  const manifest = JSON.parse(readFileSync(join(dir, 'package.json'), 'utf8'));
  const run = (...args: string[]) => runCommand(file, args, { cwd: dir });
  return { dir, file, manifest, run };
}

/** Puts the addon there as `npm install` does: with the two packages that find it, and no sources. */
function addNativeAddon(dir: string): void {
  for (const name of ['better-sqlite3', 'bindings', 'file-uri-to-path']) {
    const from = dirname(fileURLToPath(import.meta.resolve(`${name}/package.json`)));
    cpSync(from, join(dir, 'node_modules', name), {
      recursive: true,
      filter: (path) => !/better-sqlite3\/(deps|src|build\/(?!Release))/.test(path),
    });
  }
}

test('alone in a folder it says its version and its help', async () => {
  const { run, manifest } = await buildBundle();
  const { version } = JSON.parse(readFileSync(join(ROOT, 'agent/package.json'), 'utf8'));
  expect(await run('--version')).toEqual({ exitCode: 0, stdout: `${version}\n`, stderr: '' });
  const help = await run('--help');
  expect(help).toMatchObject({ exitCode: 0, stderr: '' });
  expect(help.stdout).toMatch(/Usage: latchkey-agent/);
  expect(manifest).toMatchObject({
    version,
    bin: { 'latchkey-agent': './latchkey-agent.cjs' },
  });
});

test('without the addon a daemon says what is missing', async () => {
  const { dir, run } = await buildBundle();
  writeFileSync(join(dir, 'agent.toml'), 'state_dir = "s"\n[broker]\nurl = "mqtts://b.example"\n');
  const { exitCode, stderr } = await run('run', '--config', 'agent.toml');
  expect(exitCode).toBe(1);
  expect(stderr).toMatch(/Cannot find module 'better-sqlite3'/);
});

test('its package asks for the addon and nothing else, and hands the licenses on', async () => {
  const { dir, manifest } = await buildBundle();
  expect(Object.keys(manifest.dependencies)).toEqual(['better-sqlite3']);
  const { stdout } = await runCommand('npm', ['pack', '--dry-run', '--json'], { cwd: dir });
  const [{ files }] = JSON.parse(stdout) as [{ files: { path: string; mode: number }[] }];
  expect(files.map(({ path }) => path).sort()).toEqual([
    'LICENSE',
    'THIRD-PARTY-LICENSES.txt',
    'agent.example.toml',
    'latchkey-agent.cjs',
    'latchkey-agent.service',
    'package.json',
  ]);
  const licenses = readFileSync(join(dir, 'THIRD-PARTY-LICENSES.txt'), 'utf8');
  const named = [...licenses.matchAll(/^(\S+) [0-9.]+ \(\S+\)$/gm)].map(([, name]) => name);
  expect(named).toEqual(
    expect.arrayContaining(['mqtt', 'pino', 'commander', 'valibot', 'smol-toml']),
  );
  expect(named).not.toContain('better-sqlite3');
});

test('with the addon beside it, it gets online and publishes', async () => {
  const stack = await startLiveStack();
  const stateDir = await stack.enroll('t-42');
  const { dir, file, run } = await buildBundle();
  addNativeAddon(dir);
  const config = join(dir, 'agent.toml');
  writeFileSync(config, `state_dir = "${stateDir}"\n[broker]\nurl = "${stack.resource}"\n`);
  const agent = startProgram('latchkey-agent', ['run', '--config', config], { file });
  await agent.event('agent.state', ({ state }) => state === 'online');
  const publish = ['publish', 'devices/t-42/telemetry/x', '--message', '1', '--wait'];
  expect(await run(...publish, '--state-dir', stateDir)).toMatchObject({ exitCode: 0 });
  expect(await agent.stop()).toBe(0);
});
