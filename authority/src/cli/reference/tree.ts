/**
 * The commands of a program as plain data, for completion and manual pages: what `--help` is made of.
 *
 * Units   none.
 * Errors  none.
 * Source  https://github.com/tj/commander.js
 *
 * @module
 */
import type { Command } from 'commander';
import { examplesOf } from '../command.js';

export interface OptionReference {
  /** As in `--help`: `-h, --help`, `--issuer <url>`. */
  readonly flags: string;
  readonly long: string;
  readonly description: string;
}

export interface CommandReference {
  /** Words from the program on: `['latchkey', 'device', 'create']`. */
  readonly path: readonly string[];
  readonly summary: string;
  /** What follows the path: `[options] <file>`. */
  readonly usage: string;
  readonly options: readonly OptionReference[];
  /** Lines as they are typed, without the program's name. */
  readonly examples: readonly string[];
  readonly subcommands: readonly CommandReference[];
}

export function referenceOf(command: Command, parents: readonly string[] = []): CommandReference {
  const path = [...parents, command.name()];
  const help = command.createHelp();
  const options = help
    .visibleOptions(command)
    .map(({ flags, long, description }) => ({ flags, long: long ?? '', description }));
  return {
    path,
    summary: command.description(),
    usage: command.usage(),
    options,
    examples: examplesOf(command),
    subcommands: help
      .visibleCommands(command)
      .filter((child) => child.name() !== 'help')
      .map((child) => referenceOf(child, path)),
  };
}

/** The command and all below it, parents first. */
export function allCommands(command: CommandReference): readonly CommandReference[] {
  return [command, ...command.subcommands.flatMap(allCommands)];
}
