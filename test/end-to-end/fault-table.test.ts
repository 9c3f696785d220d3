/** `docs/faults.md` names tests that exist. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ROOT } from '../helpers/processes.ts';

const page = readFileSync(join(ROOT, 'docs/faults.md'), 'utf8');
const files = new Map(
  [...page.matchAll(/(\[[a-z-]+\])\s`([^`]+)`/g)].map(([, short, path]) => [short, path]),
);
const rows = page
  .split('\n')
  .filter((line) => line.startsWith('| ') && !/^\| (fault|---)/.test(line))
  .map((line) => {
    const [, fault = '', , , title = '', file = ''] = line.split('|').map((cell) => cell.trim());
    return { fault, title: title.replace(/^"|"$/g, ''), path: files.get(file) ?? file };
  });

test('there are rows', () => {
  expect(rows.length).toBeGreaterThan(5);
});

test.each(rows)('$fault', ({ title, path }) => {
  expect(readFileSync(join(ROOT, path), 'utf8')).toContain(`'${title}'`);
});
