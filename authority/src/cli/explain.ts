/**
 * `latchkey explain <client> publish|subscribe <topic>`: what a broker decides, and why.
 *
 * Units   none.
 * Errors  those of `openManagement`; exit code 1 when it is refused.
 * Source  DESIGN 9 (I12).
 *
 * @module
 */
import { EXIT, type ExitCode } from '@latchkey/shared';
import type { Command } from 'commander';
import { addCommand, type Program, repeatable } from './command.js';
import { type Io, printJson, printLine } from './io.js';
import { type Item, type ManagementOptions, openManagement } from './management-client.js';
import { joined, plain } from './noun-view.js';

export interface ExplainOptions extends ManagementOptions {
  readonly resource?: string;
  readonly qos?: string;
  readonly retain?: boolean;
  readonly withRole?: readonly string[];
  readonly withoutRole?: readonly string[];
  readonly json?: boolean;
}

function describeGrant({ scope, roles }: Item): readonly string[] {
  const known = Array.isArray(roles) && roles.length > 0 ? roles.join(' ') : undefined;
  return [
    ...(known === undefined ? [] : [`roles that would do: ${known}`]),
    `smallest grant:      ${scope}`,
  ];
}

function describe(answer: Item): string {
  const { client_id: id, action, topic, allowed, detail } = answer;
  const missing = answer.missing_labels as readonly Item[];
  return [
    `${allowed ? 'allowed' : 'refused'}: ${id} ${action} ${topic}`,
    ...(allowed ? [] : [`because:             ${detail}`]),
    ...(answer.resource === null ? [] : [`resource:            ${answer.resource}`]),
    ...(answer.scope === null
      ? []
      : [`${allowed ? 'scope:              ' : 'nearest scope:      '} ${answer.scope}`]),
    ...(answer.permission === null
      ? []
      : [
          `permission:          ${plain('permission')(answer)}`,
          `role:                ${joined('roles')(answer)}`,
        ]),
    ...missing.map(
      ({ permission, label }) => `not granted:         ${permission} needs the label ${label}`,
    ),
    ...(answer.grant === null ? [] : describeGrant(answer.grant as Item)),
  ].join('\n');
}

export async function explainDecision(
  asked: { readonly clientId: string; readonly action: string; readonly topic: string },
  options: ExplainOptions,
  io: Io,
): Promise<ExitCode> {
  const { resource, qos, retain, withRole, withoutRole } = options;
  const management = await openManagement(options, io);
  const answer = await management.get('/explain', {
    ...{ client_id: asked.clientId, action: asked.action, topic: asked.topic },
    ...{ resource, qos, retain: retain ? 'true' : undefined },
    ...{ with_role: withRole, without_role: withoutRole },
  });
  if (options.json) printJson(io, answer);
  else printLine(io, describe(answer));
  return answer.allowed === true ? EXIT.ok : EXIT.failed;
}

export function addExplainCommand(parent: Command, { io, finish }: Program): void {
  addCommand(parent, {
    usage: 'explain <client-id> <action> <topic>',
    summary: 'tell what a broker decides, publish or subscribe, and why; exit code 1 if it refuses',
    examples: [
      'explain t-42 publish devices/t-42/telemetry/temperature --data-dir ./authority',
      "explain t-42 subscribe 'devices/+/commands/#' --qos 1 --data-dir ./authority",
      'explain t-42 publish alarms/t-42 --with-role guard --data-dir ./authority',
    ],
  })
    .option('--resource <identifier>', 'broker, when the client has rights at several')
    .option('--qos <number>', '0, 1 or 2 (default: 0)')
    .option('--retain', 'as a retained message')
    .addOption(repeatable('--with-role <name>', 'suppose that it had this role too'))
    .addOption(repeatable('--without-role <name>', 'suppose that it did not have this role'))
    .option('--json', 'print JSON')
    .action(
      async (clientId: string, action: string, topic: string, _: ExplainOptions, self: Command) => {
        const options = self.optsWithGlobals<ExplainOptions>();
        finish(await explainDecision({ clientId, action, topic }, options, io));
      },
    );
}
