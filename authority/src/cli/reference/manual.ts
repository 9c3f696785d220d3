/**
 * The manual page of a program, from what `--help` says.
 *
 * Units   none.
 * Errors  none.
 * Source  man(7), groff_man(7).
 *
 * @module
 */
import { allCommands, type CommandReference, type OptionReference } from './tree.js';

/** A line may not begin with a control character, and a dash that is typed is a minus. */
function roff(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .split('\n')
    .map((line) => (/^[.']/.test(line) ? `\\&${line}` : line))
    .join('\n');
}

const formatOption = ({ flags, description }: OptionReference): string =>
  `.TP\n.B ${roff(flags)}\n${roff(description)}`;

function formatCommand(root: CommandReference, command: CommandReference): string {
  const usage = `.SS ${roff(command.path.slice(1).join(' '))} ${roff(command.usage)}`;
  const globals = new Set(root.options.map(({ flags }) => flags));
  const own = command.options.filter(({ flags }) => !globals.has(flags));
  const parts = [usage, roff(command.summary), ...own.map(formatOption)];
  const examples = command.examples.map((example) => `  $ ${root.path.join(' ')} ${example}`);
  return [...parts, '.PP', '.nf', roff(examples.join('\n')), '.fi'].join('\n');
}

/** Section 1. Only commands that do something have an entry; a noun alone does nothing. */
export function manualPage(
  root: CommandReference,
  { version, exitCodes }: { version: string; exitCodes: readonly (readonly [number, string])[] },
): string {
  const name = root.path.join(' ');
  const commands = allCommands(root).filter(({ subcommands }) => subcommands.length === 0);
  return [
    `.TH ${name.toUpperCase()} 1 "" "${roff(`${name} ${version}`)}"`,
    '.SH NAME',
    `${name} \\- ${roff(root.summary)}`,
    '.SH SYNOPSIS',
    `.B ${name}`,
    roff('<command> [options]'),
    '.SH OPTIONS',
    ...root.options.map(formatOption),
    '.SH COMMANDS',
    ...commands.map((command) => formatCommand(root, command)),
    '.SH EXIT STATUS',
    ...exitCodes.map(([code, meaning]) => `.TP\n.B ${code}\n${roff(meaning)}`),
    '',
  ].join('\n');
}
