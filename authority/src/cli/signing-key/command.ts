/** `latchkey signing-key`. */
import type { Command } from 'commander';
import { addCommand, type Program, yesOption } from '../command.js';
import { addListOptions, type ListOptions, listItems } from '../list.js';
import { type EncryptOptions, encryptSigningKeys } from './encrypt.js';
import { type RotateOptions, rotateSigningKeys } from './rotate.js';
import { signingKeyView } from './view.js';

export function addSigningKeyCommand(parent: Command, { io, finish }: Program): void {
  const signingKey = addCommand(parent, {
    usage: 'signing-key',
    summary: 'the keys with which the authority signs tokens',
    examples: ['signing-key list --data-dir ./authority'],
  });
  const list = addCommand(signingKey, {
    usage: 'list',
    summary: 'list the keys: next, active and retired',
    examples: ['signing-key list --data-dir ./authority'],
  });
  addListOptions(list).action(async (_options: ListOptions, self: Command) => {
    finish(await listItems(signingKeyView, self.optsWithGlobals<ListOptions>(), io));
  });
  addCommand(signingKey, {
    usage: 'rotate',
    summary: 'let the next keys sign; the old ones go on verifying until their tokens are expired',
    examples: [
      'signing-key rotate --data-dir ./authority',
      'signing-key rotate --now --data-dir ./authority',
    ],
  })
    .option('--now', 'after a leak: trust no key of before, so every token of before is void')
    .addOption(yesOption())
    .option('--json', 'print JSON')
    .action(async (_options: RotateOptions, self: Command) => {
      finish(await rotateSigningKeys(self.optsWithGlobals<RotateOptions>(), io));
    });
  addCommand(signingKey, {
    usage: 'encrypt',
    summary: 'encrypt the private keys in the data directory with the key encryption key',
    examples: ['signing-key encrypt --data-dir ./authority'],
  }).action(async (_options: EncryptOptions, self: Command) => {
    finish(await encryptSigningKeys(self.optsWithGlobals<EncryptOptions>(), io));
  });
}
