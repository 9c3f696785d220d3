/**
 * The command line `latchkey`: its commands, and how each ends.
 *
 * Units   exit codes, see `shared/src/exit.ts`.
 * Errors  none: every failure becomes a message on stderr and an exit code.
 * Source  STYLE 2.10.
 *
 * @module
 */
import { describeFailure, EXIT, type ExitCode } from '@latchkey/shared';
import { Command, CommanderError } from 'commander';
import { packageVersion } from '../version.js';
import { addAuditCommand } from './audit/command.js';
import { type BackupOptions, backup, type RestoreOptions, restore } from './backup.js';
import { addClientCommands } from './client/command.js';
import { addCommand, type Program, repeatable } from './command.js';
import { type DoctorOptions, doctor } from './doctor.js';
import { addEnrollmentCommand } from './enrollment/command.js';
import { addExplainCommand } from './explain.js';
import { addFeedCommand } from './feed/command.js';
import { addFleetCommand } from './fleet/command.js';
import { type InitOptions, init } from './init.js';
import { type Io, printNote } from './io.js';
import { addKeyCommand } from './key/command.js';
import { addOperatorCommand } from './operator/command.js';
import { addPermissionCommand } from './permission/command.js';
import { addReferenceCommands } from './reference/command.js';
import { addResourceCommand } from './resource/command.js';
import { addRoleCommand } from './role/command.js';
import { addSecretCommand } from './secret/command.js';
import { type ServeOptions, serve } from './serve.js';
import { addSigningKeyCommand } from './signing-key/command.js';
import { addTokenCommand } from './token/command.js';
import { type UpgradeOptions, upgrade } from './upgrade.js';
import { type ValidateOptions, validate } from './validate.js';

function addAuthorityCommands(root: Command, { io, finish }: Program): void {
  addCommand(root, {
    usage: 'init',
    summary: 'make the data directory of a new authority',
    examples: ['init --data-dir ./authority --issuer http://127.0.0.1:9400'],
  })
    .requiredOption('--issuer <url>', 'name and URL of the authority; it cannot be changed later')
    .action(async (_options: InitOptions, self: Command) => {
      finish(await init(self.optsWithGlobals<InitOptions>(), io));
    });
  addCommand(root, {
    usage: 'serve',
    summary: 'run the authority; SIGTERM ends it',
    examples: ['serve --data-dir ./authority --listen 127.0.0.1:9400'],
  })
    .option('--listen <host:port>', 'listen here instead of where authority.toml says')
    .option('--insecure', 'listen beyond loopback without TLS')
    .action(async (_options: ServeOptions, self: Command) => {
      finish(await serve(self.optsWithGlobals<ServeOptions>(), io));
    });
  addCommand(root, {
    usage: 'validate',
    summary: 'check a data directory and its settings without starting',
    examples: ['validate --data-dir ./authority'],
  }).action(async (_options: ValidateOptions, self: Command) => {
    finish(await validate(self.optsWithGlobals<ValidateOptions>(), io));
  });
}

function addKeepingCommands(root: Command, { io, finish }: Program): void {
  addCommand(root, {
    usage: 'backup <file>',
    summary: 'copy a data directory into one file, also beside a running authority',
    examples: ['backup ./authority-2026-11-21.backup --data-dir ./authority'],
  })
    .option('--json', 'print JSON')
    .action(async (file: string, _options: BackupOptions, self: Command) => {
      finish(await backup(file, self.optsWithGlobals<BackupOptions>(), io));
    });
  addCommand(root, {
    usage: 'restore <file>',
    summary: 'make a new data directory from a backup; brokers take the whole feed anew',
    examples: ['restore ./authority-2026-11-21.backup --data-dir ./authority'],
  })
    .option('--dry-run', 'only check the backup')
    .action(async (file: string, _options: RestoreOptions, self: Command) => {
      finish(await restore(file, self.optsWithGlobals<RestoreOptions>(), io));
    });
  addCommand(root, {
    usage: 'upgrade',
    summary: 'bring the registry of an older program to this version; keeps it as it was beside it',
    examples: ['upgrade --data-dir ./authority'],
  }).action(async (_options: UpgradeOptions, self: Command) => {
    finish(await upgrade(self.optsWithGlobals<UpgradeOptions>(), io));
  });
  addCommand(root, {
    usage: 'doctor',
    summary:
      'look for what is wrong, and say what to do; exits with 1 when something does not work',
    examples: [
      'doctor --data-dir ./authority',
      'doctor --authority https://id.example --broker http://127.0.0.1:9401',
    ],
  })
    .addOption(repeatable('--broker <url>', 'also ask the monitor of this broker for its feed'))
    .option('--no-network', 'only look at the files')
    .option('--json', 'print JSON')
    .action(async (_options: DoctorOptions, self: Command) => {
      finish(await doctor(self.optsWithGlobals<DoctorOptions>(), io));
    });
}

/** All commands, for running them and for walking over them. */
export function buildProgram(program: Program): Command {
  const { io } = program;
  const root = new Command('latchkey')
    .description('Authorization server for devices, and the command line of its operator')
    .version(packageVersion())
    .option('--data-dir <dir>', 'data directory of an authority on this machine')
    .option('--authority <url>', 'issuer of an authority elsewhere')
    .option('--operator-key <file>', 'operator key file, with --authority')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text),
    })
    .addHelpText(
      'after',
      '\nExample:\n  $ latchkey init --data-dir ./authority --issuer http://127.0.0.1:9400\n  $ latchkey serve --data-dir ./authority',
    )
    .exitOverride();
  addAuthorityCommands(root, program);
  addKeepingCommands(root, program);
  addResourceCommand(root, program);
  addPermissionCommand(root, program);
  addRoleCommand(root, program);
  addClientCommands(root, program);
  addFleetCommand(root, program);
  addOperatorCommand(root, program);
  addKeyCommand(root, program);
  addSecretCommand(root, program);
  addEnrollmentCommand(root, program);
  addSigningKeyCommand(root, program);
  addFeedCommand(root, program);
  addTokenCommand(root, program);
  addExplainCommand(root, program);
  addAuditCommand(root, program);
  addReferenceCommands(root, program);
  return root;
}

/** One thumbprint in 64 begins with a dash; no option of ours has that length. */
const DASHED_KID = /^-[A-Za-z0-9_-]{42}$/;

/** Puts key ids that look like options behind `--`, where nothing is one. */
function withPlainKids(args: readonly string[]): string[] {
  if (args.includes('--')) return [...args];
  const isOperand = (arg: string, index: number): boolean =>
    DASHED_KID.test(arg) && args[index - 1] !== '--old-kid';
  const kids = args.filter(isOperand);
  return kids.length === 0
    ? [...args]
    : [...args.filter((arg, index) => !isOperand(arg, index)), '--', ...kids];
}

/** Runs one command line, without the program's name, and returns the exit code. */
export async function runProgram(args: readonly string[], io: Io): Promise<ExitCode> {
  let exitCode: ExitCode = EXIT.ok;
  const finish = (code: ExitCode) => {
    exitCode = code;
  };
  try {
    await buildProgram({ io, finish }).parseAsync(withPlainKids(args), { from: 'user' });
    return exitCode;
  } catch (error) {
    // Commander has printed its message; help and version that were asked for exit with 0.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    const failure = describeFailure(error);
    printNote(io, `error: ${failure.text}`);
    return failure.exitCode;
  }
}
