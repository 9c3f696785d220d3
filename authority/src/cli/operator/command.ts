/** `latchkey operator`. */
import type { Command } from 'commander';
import { addCommand, type Program, repeatable } from '../command.js';
import { type CreateOperatorOptions, createOperator } from './create.js';

export function addOperatorCommand(parent: Command, { io, finish }: Program): void {
  const operator = addCommand(parent, {
    usage: 'operator',
    summary: 'services that may use this command line',
    examples: ['operator create alice --key-file ./alice.json --data-dir ./authority'],
  });
  addCommand(operator, {
    usage: 'create <client-id>',
    summary: 'register another operator and write its key file',
    examples: [
      'operator create alice --key-file ./alice.json --data-dir ./authority',
      'operator create berlin --key-file ./berlin.json --limit-to-label site=berlin \\\n      --data-dir ./authority',
    ],
  })
    .requiredOption('--key-file <file>', 'where its key goes, with mode 0600')
    .addOption(repeatable('--role <name>', 'role instead of operator, which may do everything'))
    .option('--limit-to-label <key=value>', 'it reaches only clients with this label')
    .option('--json', 'print JSON')
    .action(async (id: string, _options: CreateOperatorOptions, self: Command) => {
      finish(await createOperator(id, self.optsWithGlobals<CreateOperatorOptions>(), io));
    });
}
