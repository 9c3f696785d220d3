/** `latchkey role`. */
import type { Command } from 'commander';
import { addCommand, addDelete, addNoun, type Program, repeatable } from '../command.js';
import { type CreateRoleOptions, createRole } from './create.js';
import { type UpdateRoleOptions, updateRole } from './update.js';
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
  addCommand(role, {
    usage: 'update <name>',
    summary: 'replace the permissions of a role',
    examples: [
      'role update thermostat --permission telemetry --permission commands --data-dir ./authority',
    ],
  })
    .addOption(
      repeatable(
        '--permission <name>',
        'permission that it holds afterwards',
      ).makeOptionMandatory(),
    )
    .option('--json', 'print JSON')
    .action(async (name: string, _options: UpdateRoleOptions, self: Command) => {
      const options = self.optsWithGlobals<UpdateRoleOptions>();
      program.finish(await updateRole(name, options, program.io));
    });
  addDelete(role, program, {
    view: roleView,
    summary: 'delete a role that nobody has',
    idUsage: 'name',
    exampleId: 'thermostat',
  });
}
