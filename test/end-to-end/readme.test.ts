/** What the README says is true: its commands work as written, and its table of errors is complete. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as shared from '@latchkey/shared';
import { expect, test } from 'vitest';
import { runDocumented, shellBlocks } from '../helpers/documented-commands.ts';
import { ROOT } from '../helpers/processes.ts';

const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');

function section(title: string): string {
  const [, ...rest] = readme.split(`\n## ${title}\n`);
  return (rest[0] as string).split('\n## ')[0] as string;
}

const firstCode = (text: string): string => shellBlocks(text)[0] ?? '';

test('the two commands are the ones that continuous integration runs', () => {
  expect(readme).toContain('```sh\nnpm ci && npm start\n```');
  expect(readme).toContain('```sh\nnpm ci && npm test\n```');
  expect(readFileSync(join(ROOT, '.ci/run'), 'utf8')).toContain('\nnpm ci && npm test\n');
});

test('the commands of "Your first fleet" publish a reading', async () => {
  const outcome = await runDocumented(firstCode(section('Your first fleet')));
  expect(outcome.stderr).not.toMatch(/error/i);
  expect(outcome.exitCode).toBe(0);
});

test('the commands and the lines of "Revoke within a second" make a broker that is ready', async () => {
  const text = section('Revoke within a second: the trust feed');
  const [, lines = ''] = /```toml\n(.*?)```/s.exec(text) ?? [];
  const here = lines.replace('/var/lib/latchkey-broker', '.').replace('/etc/latchkey', '.');
  const fleet = firstCode(section('Your first fleet'));
  const commands = fleet.replace(
    /cat > broker.toml <<EOF\n(issuer = .*\naudience = .*\n)/,
    (_all, head) =>
      `${firstCode(text)}cat > broker.toml <<EOF\n${head}${here}[http]\nport = 9401\n`,
  );
  const isReady = 'until curl -sf localhost:9401/readyz; do sleep 0.05; done';
  const outcome = await runDocumented(`${commands}\n${isReady}`);
  expect(outcome.stderr).not.toMatch(/error/i);
  expect(outcome.stdout).toContain('"feed.whole"');
  expect(outcome.exitCode).toBe(0);
});

test('the table of errors lists every OAuth error and its status', () => {
  type Kind = new (message: string) => shared.OAuthError;
  const exported: readonly unknown[] = Object.values(shared);
  const kinds = exported.filter(
    (value): value is Kind =>
      typeof value === 'function' && value.prototype instanceof shared.OAuthError,
  );
  const coded = kinds
    .map((Kind) => new Kind('text'))
    .map(({ error, status }) => `${error} ${status}`);
  const listed = [...section('Errors').matchAll(/^\| `([a-z_]+)` \| ([0-9]+)/gm)].map(
    ([, error, status]) => `${error} ${status}`,
  );
  expect(listed.sort()).toEqual(coded.sort());
});
