/** `latchkey token`. */
import type { Command } from 'commander';
import { addCommand, type Program } from '../command.js';
import { type InspectOptions, inspectToken } from './inspect.js';

export function addTokenCommand(parent: Command, { io, finish }: Program): void {
  const token = addCommand(parent, {
    usage: 'token',
    summary: 'access tokens',
    examples: ['token inspect --file ./token.txt --data-dir ./authority'],
  });
  addCommand(token, {
    usage: 'inspect',
    summary: 'tell what a token allows and why it would be refused; exit code 1 if it would',
    examples: [
      'token inspect --file ./token.txt --data-dir ./authority',
      'token inspect --authority https://id.example < ./token.txt',
    ],
  })
    .option('--file <file>', 'file that holds the token (default: stdin)')
    .option('--json', 'print JSON')
    .action(async (_options: InspectOptions, self: Command) => {
      finish(await inspectToken(self.optsWithGlobals<InspectOptions>(), io));
    });
}
