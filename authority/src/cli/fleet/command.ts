/** `latchkey fleet`. */
import type { Command } from 'commander';
import { addCommand, type Program } from '../command.js';
import { type SummaryOptions, showSummary } from './summary.js';

export function addFleetCommand(parent: Command, { io, finish }: Program): void {
  const fleet = addCommand(parent, {
    usage: 'fleet',
    summary: 'all devices together',
    examples: ['fleet summary --data-dir ./authority'],
  });
  addCommand(fleet, {
    usage: 'summary',
    summary: 'count devices by status and role, without a key, and with an old one',
    examples: [
      'fleet summary --data-dir ./authority',
      'fleet summary --by site --key-age 90d --data-dir ./authority',
    ],
  })
    .option('--by <label>', 'also count by the values of this label')
    .option('--key-age <duration>', 'age from which on a key counts as old', '365d')
    .option('--json', 'print JSON')
    .action(async (_options: SummaryOptions, self: Command) => {
      finish(await showSummary(self.optsWithGlobals<SummaryOptions>(), io));
    });
}
