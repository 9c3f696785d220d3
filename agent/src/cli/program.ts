/**
 * The command line of `latchkey-agent`: names, options and help; the work is in the command files.
 *
 * Units   exit codes 0 ok, 1 failed, 2 usage or configuration, 3 unreachable.
 * Errors  none leave: each becomes a line on stderr and an exit code.
 * Source  STYLE 2.10.
 *
 * @module
 */
import { describeFailure, EXIT } from '@latchkey/shared';
import { Command, CommanderError, Option } from 'commander';
import { withPriority } from '../journal.js';
import { version } from '../version.js';
import { runEnroll } from './enroll.js';
import { runHealthcheck } from './healthcheck.js';
import { type Io, writeLine } from './io.js';
import { KEY_FORMATS, runKeyCreate, runKeyShow } from './key.js';
import type { KeyRotateOptions } from './key-rotate.js';
import { runOutboxDrop, runOutboxList } from './outbox.js';
import { type PublishOptions, runPublish } from './publish.js';
import type { RunOptions } from './run.js';
import { runStatus } from './status.js';
import { runSubscribe, type SubscribeOptions } from './subscribe.js';
import { runToken } from './token.js';
import { runValidate } from './validate.js';

export type { Io } from './io.js';

const example = (text: string): string => `\nExample:\n  ${text.replaceAll('\n', '\n  ')}`;
const SOCKET = ['--socket <path>', 'a socket of the agent, instead of --state-dir'] as const;
const STATE_DIR = ['--state-dir <folder>', 'where the key and tokens are kept'] as const;

const repeated = (value: string, values: readonly string[] = []): readonly string[] => [
  ...values,
  value,
];

/** Parses `args` (without node and program) and runs the command. */
export async function runProgram(args: readonly string[], io: Io): Promise<number> {
  let exitCode: number = EXIT.ok;
  const program = new Command('latchkey-agent')
    .description('Keeps the device key, gets the token, holds the MQTT connection.')
    .version(version())
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void io.stdout.write(text),
      writeErr: (text) => void io.stderr.write(text),
    })
    .showHelpAfterError('(add --help for an example)')
    .addHelpText('after', example('latchkey-agent run --config /etc/latchkey/agent.toml'));
  /** Adds the action whose result is the exit code. */
  const runs = <Options>(
    command: Command,
    run: (options: Options, io: Io) => Promise<number>,
  ): void => {
    command.action(async () => {
      exitCode = await run(command.opts() as Options, io);
    });
  };

  runs(
    program
      .command('enroll')
      .description('make the device key and bind it to a client id, once')
      .requiredOption('--authority <url>', 'issuer URL of the authority')
      .requiredOption('--client-id <id>', 'client id of this device')
      .option('--code-file <file>', 'file with the enrollment code; - reads stdin')
      .option('--registered', 'without a code: the key that key create made is registered')
      .option(
        '--tls-pin <sha256/...>',
        'accept the authority with this TLS key only; may be repeated',
        repeated,
      )
      .requiredOption(...STATE_DIR)
      .addHelpText(
        'after',
        example(
          'latchkey-agent enroll --authority https://id.example --client-id t-42 \\\n' +
            '  --code-file code.txt --state-dir /var/lib/latchkey-agent',
        ),
      ),
    runEnroll,
  );
  const key = program.command('key').description('the key of this device');
  const formatOption = () =>
    new Option('--format <format>', 'how the public key is printed; fingerprint: RFC 7638')
      .choices(KEY_FORMATS)
      .default('jwk');
  runs(
    key
      .command('create')
      .description('make the device key before it is registered, and print its public half')
      .requiredOption(...STATE_DIR)
      .option('--ssh-agent [key]', 'one that ssh-agent holds: its fingerprint or comment')
      .addOption(formatOption())
      .addHelpText(
        'after',
        example(
          'latchkey-agent key create --state-dir /var/lib/latchkey-agent > t-42.jwk\n' +
            'latchkey device create t-42 --public-key t-42.jwk --role thermostat',
        ),
      ),
    runKeyCreate,
  );
  runs(
    key
      .command('show')
      .description('print the public half of the device key')
      .requiredOption(...STATE_DIR)
      .addOption(formatOption())
      .addHelpText(
        'after',
        example('latchkey-agent key show --format pem --state-dir /var/lib/latchkey-agent'),
      ),
    runKeyShow,
  );
  runs(
    key
      .command('rotate')
      .description('replace the device key, also while the agent runs; again after a power cut')
      .requiredOption(...STATE_DIR)
      .option('--ssh-agent [key]', 'by one that ssh-agent holds: its fingerprint or comment')
      .addHelpText(
        'after',
        example('latchkey-agent key rotate --state-dir /var/lib/latchkey-agent'),
      ),
    async (options: KeyRotateOptions, rotateIo) =>
      (await import('./key-rotate.js')).runKeyRotate(options, rotateIo),
  );
  runs(
    program
      .command('run')
      .description('connect, publish sources, run actions, until SIGTERM')
      .requiredOption('--config <file>', 'agent.toml')
      .addHelpText('after', example('latchkey-agent run --config /etc/latchkey/agent.toml')),
    // Loaded here and not above: only the daemon needs SQLite.
    async (options: RunOptions, daemonIo) => (await import('./run.js')).runRun(options, daemonIo),
  );
  const publish = program
    .command('publish')
    .description(
      'hand messages to the running agent, which keeps them until the broker has them:\n' +
        'each line of stdin is one, blank lines are skipped',
    )
    .argument('<topic>', 'topic name')
    .option(...STATE_DIR)
    .option(...SOCKET)
    .option('--qos <0|1|2>', 'quality of service', '1')
    .option('--retain', 'let the broker keep it for later subscribers')
    .option('--message <text>', 'one message, instead of stdin')
    .option('--whole', 'all of stdin is one message, whatever its bytes')
    .option('--cbor', 'each message is JSON, and is published as CBOR')
    .option('--wait', 'until the broker acknowledged it; exit code 3 when that takes over 30 s')
    .addHelpText(
      'after',
      example(
        'echo 21.5 | latchkey-agent publish devices/t-42/telemetry/temperature \\\n' +
          '  --state-dir /var/lib/latchkey-agent',
      ),
    );
  publish.action(async (topic: string) => {
    exitCode = await runPublish({ ...publish.opts<Omit<PublishOptions, 'topic'>>(), topic }, io);
  });
  const subscribe = program
    .command('subscribe')
    .description('print the payloads of the messages that the running agent receives, one a line')
    .argument('<filters...>', 'topic filters; quote # and +')
    .option(...STATE_DIR)
    .option(...SOCKET)
    .option('--qos <0|1|2>', 'highest quality of service', '1')
    .option(
      '--json',
      'each message as {"topic","qos","retain","payload"}; bytes in "payload_base64"',
    )
    .option('--cbor', 'payloads are CBOR, and are printed as JSON')
    .option('--count <n>', 'end after so many messages')
    .option(
      '--timeout <duration>',
      'end then, after 10s or 5m; exit code 1 when fewer than --count came',
    )
    .addHelpText(
      'after',
      example(
        "latchkey-agent subscribe 'devices/t-42/commands/#' --json \\\n" +
          '  --state-dir /var/lib/latchkey-agent',
      ),
    );
  subscribe.action(async (filters: string[]) => {
    const options = subscribe.opts<Omit<SubscribeOptions, 'filters'>>();
    exitCode = await runSubscribe({ ...options, filters }, io);
  });
  const outbox = program.command('outbox').description('messages that wait for the broker');
  runs(
    outbox
      .command('list')
      .description('list the oldest 100 messages and count all')
      .requiredOption(...STATE_DIR)
      .option('--json', 'as one JSON object')
      .addHelpText(
        'after',
        example('latchkey-agent outbox list --state-dir /var/lib/latchkey-agent'),
      ),
    runOutboxList,
  );
  runs(
    outbox
      .command('drop')
      .description('drop messages without sending them')
      .requiredOption(...STATE_DIR)
      .option('--sequence <n>', 'the one with that number in the list')
      .option('--all', 'all of them')
      .addHelpText(
        'after',
        example('latchkey-agent outbox drop --sequence 17 --state-dir /var/lib/latchkey-agent'),
      ),
    runOutboxDrop,
  );
  runs(
    program
      .command('status')
      .description('what the agent does now: state, token, counters, last error')
      .requiredOption(...STATE_DIR)
      .option('--json', 'as one JSON object')
      .addHelpText('after', example('latchkey-agent status --state-dir /var/lib/latchkey-agent')),
    runStatus,
  );
  runs(
    program
      .command('healthcheck')
      .description('whether the running agent gets on with its work; exit code 0, 1 or 3')
      .requiredOption(...STATE_DIR)
      .option('--json', 'as one JSON object')
      .addHelpText(
        'after',
        example('latchkey-agent healthcheck --state-dir /var/lib/latchkey-agent'),
      ),
    runHealthcheck,
  );
  runs(
    program
      .command('token')
      .description('print an access token alone')
      .requiredOption(...STATE_DIR)
      .option('--resource <uri>', "whom the token is for; the authority's default when left out")
      .option('--scope <value>', 'a right to ask for; may be repeated', repeated)
      .addHelpText(
        'after',
        example(
          'latchkey-agent token --state-dir /var/lib/latchkey-agent \\\n' +
            '  --resource https://api.example --scope orders:read',
        ),
      ),
    runToken,
  );
  runs(
    program
      .command('validate')
      .description('check a config file and its state folder without starting')
      .requiredOption('--config <file>', 'agent.toml')
      .addHelpText('after', example('latchkey-agent validate --config /etc/latchkey/agent.toml')),
    runValidate,
  );

  try {
    await program.parseAsync([...args], { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    const { text, exitCode: failure } = describeFailure(error);
    const line = `latchkey-agent: ${text}`;
    writeLine(io.stderr, io.journal?.isStderr ? withPriority(line, 3) : line);
    return failure;
  }
}
