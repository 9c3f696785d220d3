/** `latchkey secret`: secrets of services. */
import type { Command } from 'commander';
import { addCommand, type Program, yesOption } from '../command.js';
import type { ShowOptions } from '../show.js';
import {
  createSecret,
  type EndOptions,
  endSecretRotation,
  listSecrets,
  type NewSecretOptions,
  removeSecret,
  startSecretRotation,
} from './change.js';

const ENDINGS = [
  { ending: 'finish', summary: 'end the old secret' },
  { ending: 'cancel', summary: 'end the new secret' },
] as const;

/** Options of a secret that is new. */
function withSecretOptions(command: Command): Command {
  return command
    .option('--secret-label <text>', 'words for people, such as staging')
    .option('--expires <duration>', 'time until it expires, such as 90d (default: never)')
    .option('--json', 'print JSON');
}

function addRotation(secret: Command, { io, finish }: Program): void {
  const rotate = addCommand(secret, {
    usage: 'rotate',
    summary: 'replace a secret in three calls; both are good meanwhile',
    examples: ['secret rotate start billing --data-dir ./authority'],
  });
  withSecretOptions(
    addCommand(rotate, {
      usage: 'start <client-id>',
      summary: 'make the new secret; it is printed once',
      examples: ['secret rotate start billing --expires 90d --data-dir ./authority'],
    }),
  ).action(async (id: string, _options: NewSecretOptions, self: Command) => {
    finish(await startSecretRotation(id, self.optsWithGlobals<NewSecretOptions>(), io));
  });
  for (const { ending, summary } of ENDINGS) {
    addCommand(rotate, {
      usage: `${ending} <client-id>`,
      summary,
      examples: [`secret rotate ${ending} billing --yes --data-dir ./authority`],
    })
      .addOption(yesOption())
      .option('--json', 'print JSON')
      .action(async (id: string, _options: EndOptions, self: Command) => {
        finish(await endSecretRotation(ending, id, self.optsWithGlobals<EndOptions>(), io));
      });
  }
}

export function addSecretCommand(parent: Command, program: Program): void {
  const { io, finish } = program;
  const secret = addCommand(parent, {
    usage: 'secret',
    summary: 'secrets of services, two at once at most',
    examples: ['secret list billing --data-dir ./authority'],
  });
  withSecretOptions(
    addCommand(secret, {
      usage: 'create <client-id>',
      summary: 'make a secret for a service; it is printed once and stored as a hash',
      examples: ['secret create billing --expires 90d --data-dir ./authority'],
    }),
  ).action(async (id: string, _options: NewSecretOptions, self: Command) => {
    finish(await createSecret(id, self.optsWithGlobals<NewSecretOptions>(), io));
  });
  addCommand(secret, {
    usage: 'list <client-id>',
    summary: 'list what is known of the secrets of a service',
    examples: ['secret list billing --data-dir ./authority'],
  })
    .option('--json', 'print JSON')
    .action(async (id: string, _options: ShowOptions, self: Command) => {
      finish(await listSecrets(id, self.optsWithGlobals<ShowOptions>(), io));
    });
  addCommand(secret, {
    usage: 'remove <client-id> <id>',
    summary: 'remove a secret',
    examples: ['secret remove billing 1 --yes --data-dir ./authority'],
  })
    .addOption(yesOption())
    .option('--json', 'print JSON')
    .action(async (id: string, secretId: string, _options: EndOptions, self: Command) => {
      finish(await removeSecret(id, secretId, self.optsWithGlobals<EndOptions>(), io));
    });
  addRotation(secret, program);
}
