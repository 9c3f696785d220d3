/**
 * Completion for bash, zsh and fish: a script that knows every command and option, and runs nothing.
 *
 * Units   none.
 * Errors  none.
 * Source  bash(1) "Programmable Completion"; zshcompsys(1); complete of fish(1).
 *
 * @module
 */
import { allCommands, type CommandReference } from './tree.js';

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
const pathOf = ({ path }: CommandReference): string => path.join(' ');
const nameOf = ({ path }: CommandReference): string => path.at(-1) as string;
const longOptions = ({ options }: CommandReference): readonly string[] =>
  options.map(({ long }) => long).filter((long) => long !== '');

/** Options that every command takes, as they stand at the program. */
function withGlobals(root: CommandReference, command: CommandReference): readonly string[] {
  const own = longOptions(command);
  return command === root
    ? own
    : [...own, ...longOptions(root).filter((one) => !own.includes(one))];
}

/** `sh` of bash and zsh: finds the command that the words before the cursor have reached. */
function findPath(root: CommandReference): string {
  const inner = allCommands(root).filter((command) => command !== root);
  return `  local at=${quoted(pathOf(root))} word
  for word in "\${words_before[@]}"; do
    case "$at $word" in
      ${inner.map((command) => quoted(pathOf(command))).join('|')}) at="$at $word" ;;
    esac
  done`;
}

function bash(root: CommandReference): string {
  const cases = allCommands(root).map((command) => {
    const words = [...command.subcommands.map(nameOf), ...withGlobals(root, command)];
    return `    ${quoted(pathOf(command))}) candidates=${quoted(words.join(' '))} ;;`;
  });
  return `# bash completion of ${pathOf(root)}
_${pathOf(root)}() {
  local words_before=("\${COMP_WORDS[@]:1:COMP_CWORD-1}") candidates=
${findPath(root)}
  case "$at" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$candidates" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o bashdefault -o default -F _${pathOf(root)} ${pathOf(root)}
`;
}

function zsh(root: CommandReference): string {
  const described = (word: string, text: string) =>
    quoted(`${word.replaceAll(':', '\\:')}:${text}`);
  const globals = new Map(root.options.map(({ long, description }) => [long, description]));
  const cases = allCommands(root).map((command) => {
    const own = new Map(command.options.map(({ long, description }) => [long, description]));
    const items = [
      ...command.subcommands.map((child) => described(nameOf(child), child.summary)),
      ...[...new Map([...globals, ...own])]
        .filter(([long]) => long !== '')
        .map(([long, text]) => described(long, text)),
    ];
    return `    ${quoted(pathOf(command))}) candidates=(${items.join(' ')}) ;;`;
  });
  return `#compdef ${pathOf(root)}
_${pathOf(root)}() {
  local -a words_before candidates
  words_before=("\${(@)words[2,CURRENT-1]}")
${findPath(root)}
  case "$at" in
${cases.join('\n')}
  esac
  _describe -t commands ${pathOf(root)} candidates || _files
}
if [ "\${funcstack[1]}" = "_${pathOf(root)}" ]; then _${pathOf(root)} "$@"; else compdef _${pathOf(root)} ${pathOf(root)}; fi
`;
}

function fish(root: CommandReference): string {
  const name = pathOf(root);
  const inner = allCommands(root).filter((command) => command !== root);
  const lines = allCommands(root).flatMap((command) => {
    const here = `-n ${quoted(`__${name}_at ${quoted(pathOf(command)).replaceAll("'", '"')}`)}`;
    const options = command === root ? [] : command.options;
    return [
      ...command.subcommands.map(
        (child) => `complete -c ${name} -f ${here} -a ${nameOf(child)} -d ${quoted(child.summary)}`,
      ),
      ...options
        .filter(({ long }) => long !== '')
        .map(
          ({ long, description }) =>
            `complete -c ${name} ${here} -l ${long.slice(2)} -d ${quoted(description)}`,
        ),
    ];
  });
  const globals = root.options
    .filter(({ long }) => long !== '')
    .map(
      ({ long, description }) =>
        `complete -c ${name} -l ${long.slice(2)} -d ${quoted(description)}`,
    );
  return `# fish completion of ${name}
function __${name}_at
  set -l at ${name}
  for word in (commandline -opc)[2..-1]
    switch "$at $word"
      case ${inner.map((command) => quoted(pathOf(command))).join(' ')}
        set at "$at $word"
    end
  end
  test "$at" = "$argv[1]"
end
${[...globals, ...lines].join('\n')}
`;
}

const SCRIPTS = { bash, zsh, fish } as const;

/** The script that a shell is given. */
export function completionScript(shell: Shell, root: CommandReference): string {
  return SCRIPTS[shell](root);
}
