/**
 * `latchkey completion` and `latchkey man`: what `--help` says, for shells and for man(1).
 *
 * Units   none.
 * Errors  `CommanderError` for a shell that is unknown.
 * Source  STYLE 2.10.
 *
 * @module
 */
import { EXIT } from '@latchkey/shared';
import { Argument, type Command } from 'commander';
import { packageVersion } from '../../version.js';
import { addCommand, type Program } from '../command.js';
import { completionScript, SHELLS, type Shell } from './completion.js';
import { manualPage } from './manual.js';
import { referenceOf } from './tree.js';

const EXIT_CODES = [
  [EXIT.ok, 'It was done.'],
  [EXIT.failed, 'It was refused, or failed; stderr says why.'],
  [EXIT.usage, 'The command line or a configuration file is wrong.'],
  [EXIT.unreachable, 'The authority cannot be reached; try again later.'],
] as const;

export function addReferenceCommands(root: Command, { io, finish }: Program): void {
  addCommand(root, {
    usage: 'completion',
    summary: 'print the completion script of a shell',
    examples: [
      'completion bash > /etc/bash_completion.d/latchkey',
      'completion zsh > ~/.zfunc/_latchkey',
      'completion fish > ~/.config/fish/completions/latchkey.fish',
    ],
  })
    .addArgument(new Argument('<shell>', 'the shell').choices(SHELLS))
    .action((shell: Shell) => {
      io.stdout.write(completionScript(shell, referenceOf(root)));
      finish(EXIT.ok);
    });
  addCommand(root, {
    usage: 'man',
    summary: 'print the manual page',
    examples: ['man > /usr/local/share/man/man1/latchkey.1', 'man | man -l -'],
  }).action(() => {
    const version = packageVersion();
    io.stdout.write(manualPage(referenceOf(root), { version, exitCodes: EXIT_CODES }));
    finish(EXIT.ok);
  });
}
