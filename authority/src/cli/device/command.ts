/** `latchkey device`. */
import type { Command } from 'commander';
import { addCommand, addNoun, type Program, repeatable } from '../command.js';
import { type CreateDeviceOptions, createDevice } from './create.js';
import { deviceView } from './view.js';

export function addDeviceCommand(parent: Command, program: Program): void {
  const device = addNoun(parent, program, {
    view: deviceView,
    summary: 'the things of the fleet, each with a key of its own',
    idUsage: 'client-id',
    exampleId: 't-42',
  });
  addCommand(device, {
    usage: 'create <client-id>',
    summary: 'register a device; without a key it waits for enrollment',
    examples: [
      'device create t-42 --public-key ./t-42.pub --role thermostat \\\n      --label site=berlin --data-dir ./authority',
    ],
  })
    .option('--public-key <file>', 'JWK, PEM, OpenSSH line, hex or base64; - reads stdin')
    .addOption(repeatable('--role <name>', 'role to assign'))
    .addOption(repeatable('--label <key=value>', 'label, for {labels.<key>} in topic templates'))
    .option('--json', 'print JSON')
    .action(async (id: string, _options: CreateDeviceOptions, self: Command) => {
      const options = self.optsWithGlobals<CreateDeviceOptions>();
      program.finish(await createDevice(id, options, program.io));
    });
}
