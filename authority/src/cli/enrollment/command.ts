/** `latchkey enrollment`. */
import { type Command, Option } from 'commander';
import { addCommand, addNoun, type Program, repeatable, yesOption } from '../command.js';
import { type CreateEnrollmentOptions, createEnrollment } from './create.js';
import { type RevokeEnrollmentOptions, revokeEnrollment } from './revoke.js';
import { enrollmentView } from './view.js';

export function addEnrollmentCommand(parent: Command, program: Program): void {
  const enrollment = addNoun(parent, program, {
    view: enrollmentView,
    summary: 'codes by which devices bind the key that they made',
    idUsage: 'id',
    exampleId: '1',
  });
  addCommand(enrollment, {
    usage: 'create',
    summary: 'make an enrollment code; it is printed once and stored as a hash',
    examples: [
      'enrollment create --client-id t-42 --role thermostat --expires 1h --data-dir ./authority',
      "enrollment create --id-pattern 't-*' --role thermostat --uses 500 --expires 30d --data-dir ./authority",
    ],
  })
    .addOption(
      new Option(
        '--client-id <id>',
        'only for this device: a new one, or one that has no key yet',
      ).conflicts('idPattern'),
    )
    .option('--id-pattern <pattern>', "only for new devices such as 't-*' (default: *)")
    .addOption(repeatable('--role <name>', 'role to assign at enrollment'))
    .addOption(repeatable('--label <key=value>', 'label to set at enrollment'))
    .option('--uses <number>', 'devices that may use it', '1')
    .option('--expires <duration>', 'time until it expires, such as 10m, 1h or 30d', '1h')
    .option('--qr', 'print a QR code as well, which `latchkey-agent enroll` reads like a code')
    .option('--png <file>', 'write the QR code as a PNG')
    .option('--json', 'print JSON')
    .action(async (_options: CreateEnrollmentOptions, self: Command) => {
      const options = self.optsWithGlobals<CreateEnrollmentOptions>();
      program.finish(await createEnrollment(options, program.io));
    });
  addCommand(enrollment, {
    usage: 'revoke <id>',
    summary: 'make a code worthless; devices that used it stay',
    examples: ['enrollment revoke 1 --yes --data-dir ./authority'],
  })
    .addOption(yesOption())
    .option('--json', 'print JSON')
    .action(async (id: string, _options: RevokeEnrollmentOptions, self: Command) => {
      const options = self.optsWithGlobals<RevokeEnrollmentOptions>();
      program.finish(await revokeEnrollment(id, options, program.io));
    });
}
