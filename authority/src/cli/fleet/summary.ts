/**
 * `latchkey fleet summary`: the fleet in numbers.
 *
 * Units   counts of devices.
 * Errors  those of `openManagement`; `FormatError` for a duration.
 * Source  none.
 *
 * @module
 */
import { EXIT, type ExitCode, parseDuration } from '@latchkey/shared';
import { type Io, printJson, printLine } from '../io.js';
import { type Item, type ManagementOptions, openManagement } from '../management-client.js';
import { formatItem, type NounView, plain } from '../noun-view.js';
import { formatTable } from '../table.js';

export interface SummaryOptions extends ManagementOptions {
  readonly by?: string;
  readonly keyAge: string;
  readonly json?: boolean;
}

const viewOf = (fields: NounView['fields']): NounView => ({ noun: 'fleet', path: '', fields });

const countsView = (keyAge: string): NounView => {
  const status = (name: string) => (item: Item) => plain(name)(item.by_status as Item);
  return viewOf([
    { heading: 'devices', text: plain('devices') },
    { heading: 'active', text: status('active') },
    { heading: 'suspended', text: status('suspended') },
    { heading: 'revoked', text: status('revoked') },
    { heading: 'without a key', text: plain('without_key') },
    {
      heading: `a key of ${keyAge} or more`,
      text: (item) => plain('devices')(item.with_old_key as Item),
    },
  ]);
};

/** Groups under a heading; `-` stands for the devices in none. */
function formatGroups(heading: string, grouping: Item, width: number | undefined): string {
  const groups = grouping.groups as readonly Item[];
  const rest = grouping.without === 0 ? [] : [{ name: '', devices: grouping.without }];
  const view = viewOf([
    { heading, text: plain('name') },
    { heading: 'devices', text: plain('devices'), isWhole: true },
  ]);
  const table = formatTable(view, [...groups, ...rest], width);
  return grouping.more_groups === 0 ? table : `${table}\nand ${grouping.more_groups} more`;
}

export async function showSummary(options: SummaryOptions, io: Io): Promise<ExitCode> {
  const { by, keyAge, json } = options;
  const keyAgeSeconds = parseDuration(keyAge, '--key-age');
  const management = await openManagement(options, io);
  const summary = await management.get('/fleet/summary', {
    ...{ by, key_age_seconds: String(keyAgeSeconds) },
  });
  if (json) {
    printJson(io, summary);
    return EXIT.ok;
  }
  const label = summary.by_label as Item | null;
  const blocks = [
    formatItem(countsView(keyAge), summary),
    ...(summary.devices === 0
      ? []
      : [formatGroups('role', summary.by_role as Item, io.terminalWidth)]),
    ...(summary.devices === 0 || label === null
      ? []
      : [formatGroups(plain('key')(label), label, io.terminalWidth)]),
  ];
  printLine(io, blocks.join('\n\n'));
  return EXIT.ok;
}
