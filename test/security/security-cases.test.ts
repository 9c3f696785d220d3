/** `docs/security-cases.md` names tests that exist, and covers every group that it promises. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ROOT } from '../helpers/processes.ts';

const page = readFileSync(join(ROOT, 'docs/security-cases.md'), 'utf8');
const [preface = '', ...groups] = page.split(/^## /m);
const files = new Map(
  [...preface.matchAll(/(\[[a-z-]+\])\s`([^`]+)`/g)].map(([, short, path]) => [short, path]),
);

interface Row {
  readonly titles: readonly string[];
  readonly files: readonly string[];
}

function rowsOf(group: string): readonly Row[] {
  return group
    .split('\n')
    .filter((line) => line.startsWith('| ') && !/^\| (case|---)/.test(line))
    .map((line) => {
      const [, , tests = '', named = ''] = line.split(' | ').join('|').split('|');
      const titles = tests.trim().replace(/^"|"$/g, '').split('"; "');
      const paths = named
        .trim()
        .split('; ')
        .map((name) => files.get(name) ?? name.replaceAll('`', ''));
      return { titles, files: paths };
    });
}

/** Whether a file writes this text as a title or as the name of a row. */
function hasTitle(path: string, title: string): boolean {
  const source = readFileSync(join(ROOT, path), 'utf8');
  return [`'${title}'`, `"${title}"`, `\`${title}\``].some((quoted) => source.includes(quoted));
}

test('the page has groups 1 to 35 in order, each with rows', () => {
  const numbers = groups.map((group) => Number.parseInt(group, 10));
  expect(numbers).toEqual(Array.from({ length: 35 }, (_, i) => i + 1));
  for (const group of groups) expect(rowsOf(group).length).toBeGreaterThan(2);
});

describe.each(groups.map((group) => ({ title: group.split('\n')[0], group })))(
  '$title',
  ({ group }) => {
    test.each(rowsOf(group).flatMap((row) => row.titles.map((title) => ({ title, row }))))(
      '$title',
      ({ title, row }) => {
        const found = row.files.filter((path) => hasTitle(path, title));
        expect(found, `${title} in ${row.files.join(', ')}`).not.toEqual([]);
      },
    );

    test('names no file without need', () => {
      for (const row of rowsOf(group)) {
        for (const path of row.files) {
          expect(row.titles.some((title) => hasTitle(path, title))).toBe(true);
        }
      }
    });
  },
);
