/** `latchkey key`: keys of devices and services. */
import type { Command } from 'commander';
import { addCommand, type Program, yesOption } from '../command.js';
import type { ShowOptions } from '../show.js';
import {
  addKey,
  type EndOptions,
  endKeyRotation,
  listKeys,
  type NewKeyOptions,
  type RemoveKeyOptions,
  removeKey,
  type StartRotationOptions,
  startKeyRotation,
} from './change.js';

const ENDINGS = [
  { ending: 'finish', summary: 'end the old key' },
  { ending: 'cancel', summary: 'end the new key' },
] as const;

/** Options of a key that is new. */
function withKeyOptions(command: Command): Command {
  return command
    .requiredOption('--public-key <file>', 'JWK, PEM, OpenSSH line, hex or base64; - reads stdin')
    .option('--key-label <text>', 'words for people, such as spare')
    .option('--not-before <duration>', 'time until it is good, such as 1h')
    .option('--expires <duration>', 'time until it expires, such as 365d')
    .option('--json', 'print JSON');
}

function addRotation(key: Command, { io, finish }: Program): void {
  const rotate = addCommand(key, {
    usage: 'rotate',
    summary: 'replace a key in three calls; both are good meanwhile',
    examples: ['key rotate start t-42 --public-key ./new.pub --data-dir ./authority'],
  });
  withKeyOptions(
    addCommand(rotate, {
      usage: 'start <client-id>',
      summary: 'add the new key',
      examples: ['key rotate start t-42 --public-key ./new.pub --data-dir ./authority'],
    }),
  )
    .option('--old-kid <kid>', 'key that it replaces, when there are several')
    .action(async (id: string, _options: StartRotationOptions, self: Command) => {
      finish(await startKeyRotation(id, self.optsWithGlobals<StartRotationOptions>(), io));
    });
  for (const { ending, summary } of ENDINGS) {
    addCommand(rotate, {
      usage: `${ending} <client-id>`,
      summary,
      examples: [`key rotate ${ending} t-42 --yes --data-dir ./authority`],
    })
      .addOption(yesOption())
      .option('--json', 'print JSON')
      .action(async (id: string, _options: EndOptions, self: Command) => {
        finish(await endKeyRotation(ending, id, self.optsWithGlobals<EndOptions>(), io));
      });
  }
}

export function addKeyCommand(parent: Command, program: Program): void {
  const { io, finish } = program;
  const key = addCommand(parent, {
    usage: 'key',
    summary: 'keys of devices and services',
    examples: ['key list t-42 --data-dir ./authority'],
  });
  withKeyOptions(
    addCommand(key, {
      usage: 'add <client-id>',
      summary: 'add a key to a client',
      examples: [
        'key add t-42 --public-key ./spare.pub --key-label spare --expires 365d --data-dir ./authority',
      ],
    }),
  ).action(async (id: string, _options: NewKeyOptions, self: Command) => {
    finish(await addKey(id, self.optsWithGlobals<NewKeyOptions>(), io));
  });
  addCommand(key, {
    usage: 'list <client-id>',
    summary: 'list the keys of a client',
    examples: ['key list t-42 --data-dir ./authority'],
  })
    .option('--json', 'print JSON')
    .action(async (id: string, _options: ShowOptions, self: Command) => {
      finish(await listKeys(id, self.optsWithGlobals<ShowOptions>(), io));
    });
  addCommand(key, {
    usage: 'remove <client-id> <kid>',
    summary: 'remove a key; nobody can register it again',
    examples: [
      'key remove t-42 kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k --yes --data-dir ./authority',
    ],
  })
    .option('--force', 'also the last one, after which the client is shut out')
    .addOption(yesOption())
    .option('--json', 'print JSON')
    .action(async (id: string, kid: string, _options: RemoveKeyOptions, self: Command) => {
      finish(await removeKey(id, kid, self.optsWithGlobals<RemoveKeyOptions>(), io));
    });
  addRotation(key, program);
}
