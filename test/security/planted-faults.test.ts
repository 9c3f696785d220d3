/** `npm run check` must fail on a planted type, lint or promise error, and pass without one. */
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ROOT, runCommand } from '../helpers/processes.ts';

describe('npm run check', () => {
  const copy = mkdtempSync(join(tmpdir(), 'latchkey-check-'));
  afterAll(() => rmSync(copy, { recursive: true, force: true }));

  /** The tracked and new files, as they are now; installed packages are linked, our own are the copy's. */
  beforeAll(async () => {
    const listing = ['ls-files', '--cached', '--others', '--exclude-standard'];
    const { stdout } = await runCommand('git', listing, { cwd: ROOT });
    for (const file of stdout
      .trim()
      .split('\n')
      .filter((name) => existsSync(join(ROOT, name)))) {
      mkdirSync(dirname(join(copy, file)), { recursive: true });
      cpSync(join(ROOT, file), join(copy, file));
    }
    const modules = join(copy, 'node_modules');
    mkdirSync(join(modules, '@latchkey'), { recursive: true });
    for (const name of readdirSync(join(ROOT, 'node_modules'))) {
      if (name !== '@latchkey') symlinkSync(join(ROOT, 'node_modules', name), join(modules, name));
    }
    for (const name of ['shared', 'authority', 'broker-plugin', 'agent']) {
      symlinkSync(join(copy, name), join(modules, '@latchkey', name));
    }
  });

  const check = () => runCommand('npm', ['run', 'check'], { cwd: copy });
  const plant = (code: string) => writeFileSync(join(copy, 'shared/src/planted.ts'), code);

  test.each([
    { name: 'a type error', code: "export const planted: number = 'text';\n", says: 'TS2322' },
    {
      name: 'a lint error',
      code: 'export const planted: unknown = Date;\n',
      says: 'noRestrictedGlobals',
    },
    {
      name: 'a floating promise',
      code: "export function planted(): void {\n  Promise.reject(new Error('lost'));\n}\n",
      says: 'no-floating-promises',
    },
  ])('fails on $name', async ({ code, says }) => {
    plant(code);
    const { exitCode, stdout, stderr } = await check();
    expect(exitCode).not.toBe(0);
    expect(stdout + stderr).toContain(says);
  });

  test('passes on the same file without a fault', async () => {
    plant('export const planted: number = 1;\n');
    const { exitCode, stdout, stderr } = await check();
    expect(exitCode, stdout + stderr).toBe(0);
  });
});
