/**
 * What every command of the program has: its example, its options, and an exit code.
 *
 * Units   none.
 * Errors  none.
 * Source  https://github.com/tj/commander.js
 *
 * @module
 */
import type { ExitCode } from '@latchkey/shared';
import { type Command, Option } from 'commander';
import { type DeleteOptions, deleteItem } from './delete.js';
import type { Io } from './io.js';
import { addListOptions, type ListOptions, listItems } from './list.js';
import type { NounView } from './noun-view.js';
import { type ShowOptions, showItem } from './show.js';

export interface Program {
  readonly io: Io;
  /** Told the exit code of the command that ran. */
  readonly finish: (exitCode: ExitCode) => void;
}

/** Gathers an option that may be repeated. */
const gather = (value: string, previous: readonly string[] = []): readonly string[] => [
  ...previous,
  value,
];

/** An option that may be given several times. */
export function repeatable(flags: string, description: string): Option {
  return new Option(flags, `${description} (repeatable)`).argParser<readonly string[]>(gather);
}

const examplesByCommand = new WeakMap<Command, readonly string[]>();

/** What `addCommand` was given. */
export function examplesOf(command: Command): readonly string[] {
  return examplesByCommand.get(command) ?? [];
}

/** Adds a command that does something; every one has an example. */
export function addCommand(
  parent: Command,
  { usage, summary, examples }: { usage: string; summary: string; examples: readonly string[] },
): Command {
  const lines = examples.map((example) => `  $ latchkey ${example}`);
  const title = examples.length === 1 ? 'Example:' : 'Examples:';
  const command = parent
    .command(usage)
    .description(summary)
    .addHelpText('after', `\n${title}\n${lines.join('\n')}`);
  examplesByCommand.set(command, examples);
  return command;
}

/** An option of every command that ends something. */
export function yesOption(): Option {
  return new Option('--yes', 'do not ask');
}

/** Adds `latchkey <noun> delete`. */
export function addDelete(
  parent: Command,
  { io, finish }: Program,
  options: { view: NounView; summary: string; idUsage: string; exampleId: string },
): void {
  const { view, summary, idUsage, exampleId } = options;
  addCommand(parent, {
    usage: `delete <${idUsage}>`,
    summary,
    examples: [`${view.noun} delete ${exampleId} --data-dir ./authority`],
  })
    .addOption(yesOption())
    .action(async (id: string, _options: DeleteOptions, self: Command) => {
      finish(await deleteItem(view, id, self.optsWithGlobals<DeleteOptions>(), io));
    });
}

/** Adds `latchkey <noun>` with `list` and `show`; the noun itself adds `create`. */
export function addNoun(
  parent: Command,
  { io, finish }: Program,
  options: {
    view: NounView;
    summary: string;
    idUsage: string;
    exampleId: string;
    /** Parameters that a list can be filtered by, as options. */
    filters?: readonly Option[];
  },
): Command {
  const { view, summary, idUsage, exampleId, filters = [] } = options;
  const { noun } = view;
  const command = addCommand(parent, {
    usage: noun,
    summary,
    examples: [`${noun} list --data-dir ./authority`],
  });
  const list = addCommand(command, {
    usage: 'list',
    summary: `list every ${noun}`,
    examples: [
      `${noun} list --data-dir ./authority`,
      `${noun} list --json --authority https://id.example --operator-key ./operator-key.json`,
    ],
  });
  for (const filter of filters) list.addOption(filter);
  addListOptions(list).action(async (_options: ListOptions, self: Command) => {
    finish(await listItems(view, self.optsWithGlobals<ListOptions>(), io));
  });
  addCommand(command, {
    usage: `show <${idUsage}>`,
    summary: `show one ${noun}`,
    examples: [`${noun} show ${exampleId} --data-dir ./authority`],
  })
    .option('--json', 'print JSON')
    .action(async (id: string, _options: ShowOptions, self: Command) => {
      finish(await showItem(view, id, self.optsWithGlobals<ShowOptions>(), io));
    });
  return command;
}
