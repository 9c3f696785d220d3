/** `latchkey audit`. */
import { type Command, Option } from 'commander';
import { AUDIT_OUTCOMES, AUDIT_TYPES } from '../../registry/audit-log.js';
import { addCommand, type Program, repeatable } from '../command.js';
import type { EventOptions } from './events.js';
import { exportEvents, type ListEventsOptions, listEvents } from './list.js';
import { type TailOptions, tailEvents } from './tail.js';
import { type VerifyOptions, verifyEvents } from './verify.js';

/** Options that choose events. */
function addFilters(command: Command): Command {
  return command
    .option('--client <id>', 'only about this client')
    .addOption(new Option('--type <type>', 'only of this type').choices([...AUDIT_TYPES]))
    .addOption(new Option('--outcome <outcome>', 'only these').choices([...AUDIT_OUTCOMES]))
    .option('--since <duration>', 'only from so long ago on, such as 10m, 24h or 7d');
}

export function addAuditCommand(parent: Command, { io, finish }: Program): void {
  const audit = addCommand(parent, {
    usage: 'audit',
    summary: 'what was decided and changed, by whom',
    examples: ['audit tail --follow --data-dir ./authority'],
  });
  addFilters(
    addCommand(audit, {
      usage: 'tail',
      summary: 'show the newest events',
      examples: [
        'audit tail --data-dir ./authority',
        'audit tail --follow --outcome refused --data-dir ./authority',
      ],
    }),
  )
    .option('-n, --lines <number>', 'events to begin with', '20')
    .option('-f, --follow', 'go on with those that come, until a signal ends it')
    .option('--json', 'print one JSON object a line')
    .action(async (_options: TailOptions, self: Command) => {
      finish(await tailEvents(self.optsWithGlobals<TailOptions>(), io));
    });
  addFilters(
    addCommand(audit, {
      usage: 'list',
      summary: 'list events, the oldest first',
      examples: ['audit list --client t-42 --since 24h --data-dir ./authority'],
    }),
  )
    .option('--json', 'print JSON')
    .action(async (_options: ListEventsOptions, self: Command) => {
      finish(await listEvents(self.optsWithGlobals<ListEventsOptions>(), io));
    });
  addFilters(
    addCommand(audit, {
      usage: 'export',
      summary: 'print events as JSON, one a line',
      examples: ['audit export --since 30d --data-dir ./authority > audit.jsonl'],
    }),
  ).action(async (_options: EventOptions, self: Command) => {
    finish(await exportEvents(self.optsWithGlobals<EventOptions>(), io));
  });
  addCommand(audit, {
    usage: 'verify',
    summary: 'check that no event was changed, removed, inserted or moved',
    examples: [
      'audit verify --data-dir ./authority',
      'audit verify --expect 1041:5mYb0kYb3vNf4Yw8i0qPq2b8cVqkYy7yq2mC0o4fQxE --data-dir ./authority',
    ],
  })
    .addOption(repeatable('--expect <sequence:hash>', 'place noted from an earlier verify'))
    .option('--json', 'print JSON')
    .action(async (_options: VerifyOptions, self: Command) => {
      finish(await verifyEvents(self.optsWithGlobals<VerifyOptions>(), io));
    });
}
