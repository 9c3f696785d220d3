/** `latchkey permission`. */
import type { Command } from 'commander';
import { addCommand, addDelete, addNoun, type Program, repeatable } from '../command.js';
import { type CreatePermissionOptions, createPermission } from './create.js';
import { type UpdatePermissionOptions, updatePermission } from './update.js';
import { permissionView } from './view.js';

export function addPermissionCommand(parent: Command, program: Program): void {
  const permission = addNoun(parent, program, {
    view: permissionView,
    summary: 'named aliases of topic scopes, which roles are made of',
    idUsage: 'name',
    exampleId: 'telemetry',
  });
  addCommand(permission, {
    usage: 'create <name>',
    summary: 'create a permission; for an http resource its name is the scope',
    examples: [
      "permission create telemetry --resource mqtt://localhost:1883 \\\n      --scope 'pub:devices/{client_id}/telemetry/#' --data-dir ./authority",
      'permission create orders:read --resource https://orders.example --data-dir ./authority',
    ],
  })
    .requiredOption('--resource <identifier>', 'resource that it is for')
    .addOption(
      repeatable(
        '--scope <template>',
        'pub:, sub: or pubsub: and a topic filter, with {client_id} and {labels.<key>}',
      ),
    )
    .option('--json', 'print JSON')
    .action(async (name: string, _options: CreatePermissionOptions, self: Command) => {
      const options = self.optsWithGlobals<CreatePermissionOptions>();
      program.finish(await createPermission(name, options, program.io));
    });
  addCommand(permission, {
    usage: 'update <name>',
    summary: 'replace the scopes of a permission',
    examples: [
      "permission update telemetry --scope 'pub:devices/{client_id}/telemetry/#' --data-dir ./authority",
    ],
  })
    .addOption(
      repeatable('--scope <template>', 'scope that it has afterwards').makeOptionMandatory(),
    )
    .option('--json', 'print JSON')
    .action(async (name: string, _options: UpdatePermissionOptions, self: Command) => {
      const options = self.optsWithGlobals<UpdatePermissionOptions>();
      program.finish(await updatePermission(name, options, program.io));
    });
  addDelete(permission, program, {
    view: permissionView,
    summary: 'delete a permission that no role holds',
    idUsage: 'name',
    exampleId: 'telemetry',
  });
}
