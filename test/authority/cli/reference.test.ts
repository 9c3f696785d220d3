/** Completion and manual page: real shells complete what the program knows. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildProgram } from '@latchkey/authority';
import { describe, expect, test } from 'vitest';
import { runCli } from '../../helpers/cli.ts';
import { temporaryDir } from '../../helpers/processes.ts';

async function scriptOf(shell: string): Promise<string> {
  const { exitCode, stdout } = await runCli(['completion', shell]);
  expect(exitCode).toBe(0);
  const file = join(temporaryDir(), '_latchkey');
  writeFileSync(file, stdout);
  return file;
}

/** What bash offers for the last of these words. */
async function complete(...words: readonly string[]): Promise<readonly string[]> {
  const file = await scriptOf('bash');
  const run = `source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _latchkey; printf '%s\n' "\${COMPREPLY[@]}"`;
  const stdout = execFileSync('bash', ['--norc', '-c', run, file, 'latchkey', ...words]);
  return String(stdout)
    .split('\n')
    .filter((line) => line !== '');
}

type Command = ReturnType<typeof buildProgram>;

describe('bash', () => {
  test.each([
    { words: ['devi'], offers: ['device'] },
    { words: ['device', 'cre'], offers: ['create'] },
    { words: ['device', 'create', 't-42', '--rol'], offers: ['--role'] },
    { words: ['--data-dir', './a', 'secret', 'rotate', 'st'], offers: ['start'] },
    { words: ['serve', '--data'], offers: ['--data-dir'] },
    { words: ['completion', '--h'], offers: ['--help'] },
    { words: ['no-such-command', 'cre'], offers: [] },
    { words: ['device', '--issuer'], offers: [] },
    { words: ['$(touch', '/tmp/x)'], offers: [] },
  ])('offers $offers for $words', async ({ words, offers }) => {
    expect(await complete(...words)).toEqual(offers);
  });
});

describe('every shell', () => {
  const commandsOf = (command: Command): readonly Command[] => [
    command,
    ...command.commands.flatMap(commandsOf),
  ];
  const { io, finish } = { io: { stdout: process.stdout } as never, finish: () => undefined };
  const commands = commandsOf(buildProgram({ io, finish }));

  test.each(['bash', 'zsh', 'fish'])('%s is told every command and option', async (shell) => {
    const { stdout } = await runCli(['completion', shell]);
    for (const command of commands) {
      expect(stdout).toContain(command.name());
      for (const { long } of command.options) {
        expect(stdout).toContain(shell === 'fish' ? `-l ${long?.slice(2)}` : long);
      }
    }
  });

  test('that is none of them is refused', async () => {
    const { exitCode, stderr } = await runCli(['completion', 'tcsh']);
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining('bash, zsh, fish')]);
  });

  test('the manual page describes every command that does something', async () => {
    const { exitCode, stdout } = await runCli(['man']);
    expect(exitCode).toBe(0);
    const plain = stdout.replaceAll('\\-', '-');
    for (const command of commands.filter(({ commands }) => commands.length === 0)) {
      expect(plain).toContain(`\n${command.description()}\n`);
    }
    // A line that begins with a dot is a request to the formatter.
    const requests = stdout.split('\n').filter((line) => line.startsWith('.'));
    expect(new Set(requests.map((line) => line.split(' ')[0]))).toEqual(
      new Set(['.TH', '.SH', '.SS', '.TP', '.B', '.PP', '.nf', '.fi']),
    );
  });
});
