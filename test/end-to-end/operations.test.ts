/** The commands of docs/operations.md, run in their order as one session. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runDocumented, shellBlocks } from '../helpers/documented-commands.ts';
import { ROOT } from '../helpers/processes.ts';

const handbook = readFileSync(join(ROOT, 'docs/operations.md'), 'utf8');
const sections = handbook.split('\n## ').slice(1);

/** What a section prints comes behind its title. */
function script(): string {
  return sections
    .map((section) => {
      const title = section.split('\n')[0] as string;
      return [`echo '## ${title}' >&2`, ...shellBlocks(section)].join('\n');
    })
    .join('\n');
}

test('the handbook has a section for each thing that an operator has to do', () => {
  expect(sections.map((section) => section.split('\n')[0])).toEqual([
    'First day',
    'A factory line',
    'Rotation',
    'A stolen device',
    'A leaked signing key',
    'The disk of the authority is lost',
    'Moving to another host',
    'Upgrade',
    'The last day of a device',
  ]);
  expect(sections.every((section) => shellBlocks(section).length > 0)).toBe(true);
});

test('every command of the handbook works', async () => {
  const { exitCode, stdout, stderr } = await runDocumented(script());
  // The last title tells where it ended.
  expect([exitCode, stderr]).toEqual([0, expect.stringContaining('## The last day of a device')]);
  expect(stderr).not.toMatch(/^error/m);
  expect(stdout).not.toMatch(/^FAIL/m);
}, 120_000);
