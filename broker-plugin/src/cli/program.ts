/**
 * The command line of `latchkey-broker`: names, options and help; the work is in the command files.
 *
 * Units   exit codes 0 ok, 1 failed, 2 usage or configuration, 3 unreachable.
 * Errors  none leave: each becomes a line on stderr and an exit code.
 * Source  STYLE 2.10.
 *
 * @module
 */
import { readFileSync } from 'node:fs';
import { describeFailure, EXIT } from '@latchkey/shared';
import { Command, CommanderError } from 'commander';
import { type HealthcheckOptions, runHealthcheck } from './healthcheck.js';
import { type ConfigOptions, type Io, writeLine } from './io.js';
import { runRun } from './run.js';
import { runValidate, type ValidateOptions } from './validate.js';

const example = (text: string): string => `\nExample:\n  ${text.replaceAll('\n', '\n  ')}`;
const CONFIG = ['--config <file>', 'broker.toml'] as const;
const INSECURE = ['--insecure', 'listen beyond loopback without TLS'] as const;

function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  const { version: number }: { version: string } = JSON.parse(text);
  return number;
}

/** Parses `args` (without node and program) and runs the command. */
export async function runProgram(args: readonly string[], io: Io): Promise<number> {
  let exitCode: number = EXIT.ok;
  const program = new Command('latchkey-broker')
    .description('An MQTT broker that lets in exactly who may, for exactly what.')
    .version(version())
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void io.stdout.write(text),
      writeErr: (text) => void io.stderr.write(text),
    })
    .showHelpAfterError('(add --help for an example)')
    .addHelpText(
      'after',
      `
Signals:
  SIGHUP    reads certificates and their keys anew
  SIGTERM   finishes what was begun and exits; a second one exits at once

Exit codes:
  0 ok, 1 failed, 2 wrong use or configuration, 3 another party cannot be reached
${example('latchkey-broker --config /etc/latchkey/broker.toml')}`,
    );

  program
    .command('run', { isDefault: true })
    .description('listen until SIGTERM (what happens when no command is named)')
    .requiredOption(...CONFIG)
    .option(...INSECURE)
    .addHelpText('after', example('latchkey-broker run --config /etc/latchkey/broker.toml'))
    .action(async (options: ConfigOptions) => {
      exitCode = await runRun(options, io);
    });
  program
    .command('validate')
    .description('check a config file, and all files it names, without starting')
    .requiredOption(...CONFIG)
    .option(...INSECURE)
    .option('--json', 'print JSON')
    .addHelpText('after', example('latchkey-broker validate --config /etc/latchkey/broker.toml'))
    .action(async (options: ValidateOptions) => {
      exitCode = await runValidate(options, io);
    });
  program
    .command('healthcheck')
    .description('ask the running broker, by its section [http], whether it can let clients in')
    .requiredOption(...CONFIG)
    .option('--live', 'ask only whether it runs')
    .addHelpText('after', example('latchkey-broker healthcheck --config /etc/latchkey/broker.toml'))
    .action(async (options: HealthcheckOptions) => {
      exitCode = await runHealthcheck(options, io);
    });

  try {
    await program.parseAsync([...args], { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    const { text, exitCode: failure } = describeFailure(error);
    writeLine(io.stderr, `latchkey-broker: ${text}`);
    return failure;
  }
}
