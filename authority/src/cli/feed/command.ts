/** `latchkey feed`. */
import type { Command } from 'commander';
import { addCommand, type Program, yesOption } from '../command.js';
import { type RenewFeedOptions, renewFeed } from './renew.js';

export function addFeedCommand(parent: Command, { io, finish }: Program): void {
  const feed = addCommand(parent, {
    usage: 'feed',
    summary: 'what brokers are told of clients and keys',
    examples: ['feed renew --data-dir ./authority'],
  });
  addCommand(feed, {
    usage: 'renew',
    summary: 'after restoring the registry from a backup: make every broker take all of it anew',
    examples: ['feed renew --data-dir ./authority'],
  })
    .addOption(yesOption())
    .action(async (_options: RenewFeedOptions, self: Command) => {
      finish(await renewFeed(self.optsWithGlobals<RenewFeedOptions>(), io));
    });
}
