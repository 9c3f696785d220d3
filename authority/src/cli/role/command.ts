/** `latchkey role`. */
import type { Command } from 'commander';
import { addCommand, addNoun, type Program, repeatable } from '../command.js';
import { type CreateRoleOptions, createRole } from './create.js';
import { roleView } from './view.js';

export function addRoleCommand(parent: Command, program: Program): void {
  const role = addNoun(parent, program, {
    view: roleView,
    summary: 'named sets of permissions, which devices are assigned',
    idUsage: 'name',
    exampleId: 'thermostat',
  });
  addCommand(role, {
    usage: 'create <name>',
    summary: 'create a role',
    examples: ['role create thermostat --permission telemetry --data-dir ./authority'],
  })
    .addOption(repeatable('--permission <name>', 'permission that it holds').makeOptionMandatory())
    .option('--json', 'print JSON')
    .action(async (name: string, _options: CreateRoleOptions, self: Command) => {
      const options = self.optsWithGlobals<CreateRoleOptions>();
      program.finish(await createRole(name, options, program.io));
    });
}
