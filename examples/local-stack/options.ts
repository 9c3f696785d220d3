/**
 * Command line of the local stack.
 *
 * Units   `--for` in seconds; ports 1 to 65535.
 * Errors  commander's usage errors, exit code 2.
 * Source  none.
 *
 * @module
 */
import { resolve } from 'node:path';
import { EXIT } from '@latchkey/shared';
import { Command, InvalidArgumentError, Option } from 'commander';

export interface StackOptions {
  readonly dataDir: string;
  readonly authorityPort: number;
  readonly brokerPort: number;
  /** Undefined: run until stopped. */
  readonly forSeconds: number | undefined;
  readonly isSimulated: boolean;
  /** File to read the temperature from. */
  readonly sensor: string | undefined;
  readonly limit: number | undefined;
}

function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^[0-9]+$/.test(text) || value < min || value > max) {
      throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
    }
    return value;
  };
}

function finiteNumber(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value))
    throw new InvalidArgumentError('It must be a number.');
  return value;
}

export function parseOptions(argv: readonly string[]): StackOptions {
  const program = new Command('npm start --')
    .description(
      'Starts an authority, a broker with the plugin, a thermostat and an air conditioner on this machine.',
    )
    .option('--data-dir <dir>', 'where keys, registry and settings live', 'latchkey-data')
    .option('--authority-port <port>', 'port of the authority', wholeNumber(1, 65_535), 9400)
    .option('--broker-port <port>', 'port of the broker', wholeNumber(1, 65_535), 1883)
    .option(
      '--for <seconds>',
      'run that long, then exit 0 only if messages flowed and the refusal was refused',
      wholeNumber(5, 86_400),
    )
    .option('--simulate', 'invent the temperature instead of reading this machine', false)
    .addOption(
      new Option(
        '--sensor <file>',
        'read the temperature from this file, which is made if it is not there; write to it to change it',
      ).conflicts('simulate'),
    )
    .option(
      '--limit <number>',
      'above this reading the air conditioner is switched on',
      finiteNumber,
    )
    .addHelpText(
      'after',
      '\nExamples:\n  npm start -- --for 20 --simulate\n  npm start -- --sensor degrees    (and elsewhere: echo 30 > degrees)',
    )
    .exitOverride((error) => process.exit(error.exitCode === 0 ? EXIT.ok : EXIT.usage));
  const values = program.parse(argv, { from: 'user' }).opts<{
    dataDir: string;
    authorityPort: number;
    brokerPort: number;
    for?: number;
    simulate: boolean;
    sensor?: string;
    limit?: number;
  }>();
  return {
    dataDir: resolve(values.dataDir),
    authorityPort: values.authorityPort,
    brokerPort: values.brokerPort,
    forSeconds: values.for,
    isSimulated: values.simulate,
    sensor: values.sensor === undefined ? undefined : resolve(values.sensor),
    limit: values.limit,
  };
}
