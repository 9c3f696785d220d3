/** `latchkey device` and `latchkey service`. */
import { type Command, Option } from 'commander';
import { addCommand, addNoun, type Program, repeatable, yesOption } from '../command.js';
import type { NounView } from '../noun-view.js';
import { type CreateClientOptions, createClient } from './create.js';
import { type ExportOptions, exportClients } from './export.js';
import { type ImportOptions, importClients } from './import.js';
import { type UpdateClientOptions, updateClient } from './update.js';
import {
  type DeleteClientOptions,
  deleteClient,
  runVerb,
  type Verb,
  type VerbOptions,
} from './verbs.js';
import { deviceView, serviceView } from './view.js';

interface Kind {
  readonly view: NounView;
  readonly summary: string;
  readonly exampleId: string;
  readonly exampleRole: string;
}

const DEVICE: Kind = {
  view: deviceView,
  summary: 'the things of the fleet, each with a key of its own',
  exampleId: 't-42',
  exampleRole: 'thermostat',
};
const SERVICE: Kind = {
  view: serviceView,
  summary: 'backends, brokers and operators, with keys or secrets',
  exampleId: 'billing',
  exampleRole: 'reader',
};

const VERBS: readonly { verb: Verb; summary: string; isFinal: boolean }[] = [
  { verb: 'suspend', summary: 'refuse it until it is resumed', isFinal: false },
  { verb: 'resume', summary: 'end its suspension', isFinal: false },
  {
    verb: 'revoke',
    summary: 'refuse it for ever; its keys, secrets and tokens are void at once',
    isFinal: true,
  },
  { verb: 'void-tokens', summary: 'void every token that it was issued until now', isFinal: true },
];

const filters = () => [
  repeatable('--label <key=value>', 'only with this label'),
  new Option('--status <status>', 'only active, suspended or revoked ones'),
  new Option('--role <name>', 'only with this role'),
  new Option('--id-prefix <text>', 'only with ids that begin so'),
];

const TTL = 'lifetime of its tokens when shorter than the resource gives, 60s to 1d';
const LIMIT = 'as an operator it reaches only clients with this label';

function addCreate(parent: Command, program: Program, kind: Kind): void {
  const { view, exampleId, exampleRole } = kind;
  const create = addCommand(parent, {
    usage: 'create <client-id>',
    summary: `register a ${view.noun}; without a key it waits for one`,
    examples: [
      `${view.noun} create ${exampleId} --public-key ./${exampleId}.pub --role ${exampleRole} \\\n      --label site=berlin --data-dir ./authority`,
    ],
  })
    .option('--public-key <file>', 'JWK, PEM, OpenSSH line, hex or base64; - reads stdin')
    .addOption(repeatable('--role <name>', 'role to assign'))
    .addOption(repeatable('--label <key=value>', 'label, for {labels.<key>} in topic templates'))
    .option('--may-mint', 'accept tokens that it signs itself while the authority is away')
    .option('--token-ttl <duration>', TTL);
  if (kind === SERVICE) create.option('--limit-to-label <key=value>', LIMIT);
  create
    .option('--json', 'print JSON')
    .action(async (id: string, _options: CreateClientOptions, self: Command) => {
      const options = self.optsWithGlobals<CreateClientOptions>();
      program.finish(await createClient(view, id, options, program.io));
    });
}

function addUpdate(parent: Command, program: Program, kind: Kind): void {
  const { view, exampleId } = kind;
  const update = addCommand(parent, {
    usage: 'update <client-id>',
    summary: `change roles, labels and limits of a ${view.noun}`,
    examples: [
      `${view.noun} update ${exampleId} --label site=paris --remove-label floor --data-dir ./authority`,
    ],
  })
    .addOption(repeatable('--add-role <name>', 'role to assign'))
    .addOption(repeatable('--remove-role <name>', 'role to take away'))
    .addOption(repeatable('--label <key=value>', 'label to set'))
    .addOption(repeatable('--remove-label <key>', 'label to take away'))
    .option('--may-mint', 'accept tokens that it signs itself while the authority is away')
    .option('--no-may-mint', 'do not')
    .option('--token-ttl <duration>', `${TTL}; none for as long as the resource gives`);
  if (kind === SERVICE) update.option('--limit-to-label <key=value>', `${LIMIT}; none for all`);
  update
    .option('--json', 'print JSON')
    .action(async (id: string, _options: UpdateClientOptions, self: Command) => {
      const options = self.optsWithGlobals<UpdateClientOptions>();
      program.finish(await updateClient(view, id, options, program.io));
    });
}

function addFleet(parent: Command, program: Program, kind: Kind): void {
  const { view, exampleRole } = kind;
  const { noun } = view;
  const importing = addCommand(parent, {
    usage: 'import <file>',
    summary: `register many ${noun}s, from CSV, JSON lines or a folder of public keys; - reads stdin`,
    examples: [
      `${noun} import ./${noun}s.csv --dry-run --data-dir ./authority`,
      `${noun} import ./keys/ --role ${exampleRole} --label site=berlin --data-dir ./authority`,
      ...(kind === SERVICE
        ? [
            'service import ./clients.json --from auth0 --role-for read:orders=reader --data-dir ./authority',
          ]
        : []),
    ],
  })
    .option('--format <format>', 'csv or jsonl, where the name of the file does not tell')
    .addOption(repeatable('--role <name>', 'role that every line gets beside its own'))
    .addOption(repeatable('--label <key=value>', 'label of every line that does not set it itself'))
    .option('--dry-run', 'ask the authority about every line and change nothing')
    .option('--rejects <file>', 'where refused lines go, with reasons (default: FILE.rejects.csv)')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
CSV columns: client_id, public_key (JWK, PEM, OpenSSH, hex or base64), roles (separated by spaces),
labels (site=berlin;floor=2) or label.<key>, may_mint, token_ttl_seconds, status. JSON lines have the
same members, and "keys" for several. In a folder each file is a key and its name the client id.
A line that is there already is passed over, so an import that was broken off is simply run again.`,
    );
  if (kind === SERVICE) {
    importing
      .option('--from <provider>', 'the file is an export of auth0, stytch or logto')
      .addOption(repeatable('--role-for <scope=role>', 'role that stands for a scope of theirs'));
  }
  importing.action(async (file: string, _options: ImportOptions, self: Command) => {
    const options = self.optsWithGlobals<ImportOptions>();
    program.finish(await importClients(view, file, options, program.io));
  });
  const exporting = addCommand(parent, {
    usage: 'export',
    summary: `print every ${noun} as import reads it, without secrets`,
    examples: [`${noun} export --data-dir ./authority > ${noun}s.jsonl`],
  }).option('--format <format>', 'csv or jsonl', 'jsonl');
  for (const filter of filters()) exporting.addOption(filter);
  exporting.action(async (_options: ExportOptions, self: Command) => {
    const options = self.optsWithGlobals<ExportOptions>();
    program.finish(await exportClients(view, options, program.io));
  });
}

function addVerbs(parent: Command, program: Program, { view, exampleId }: Kind): void {
  for (const { verb, summary, isFinal } of VERBS) {
    const command = addCommand(parent, {
      usage: `${verb} <client-id>`,
      summary,
      examples: [`${view.noun} ${verb} ${exampleId} --data-dir ./authority`],
    });
    if (isFinal) command.addOption(yesOption());
    command
      .option('--json', 'print JSON')
      .action(async (id: string, _options: VerbOptions, self: Command) => {
        const options = self.optsWithGlobals<VerbOptions>();
        program.finish(await runVerb(view, verb, id, options, program.io));
      });
  }
  addCommand(parent, {
    usage: 'delete <client-id>',
    summary: `delete a ${view.noun}; its id stays taken`,
    examples: [
      `${view.noun} delete ${exampleId} --data-dir ./authority`,
      `${view.noun} delete ${exampleId} --free-id --yes --data-dir ./authority`,
    ],
  })
    .option('--free-id', 'let the id be registered again, also of one that was deleted before')
    .addOption(yesOption())
    .action(async (id: string, _options: DeleteClientOptions, self: Command) => {
      const options = self.optsWithGlobals<DeleteClientOptions>();
      program.finish(await deleteClient(view, id, options, program.io));
    });
}

export function addClientCommands(root: Command, program: Program): void {
  for (const kind of [DEVICE, SERVICE]) {
    const { view, summary, exampleId } = kind;
    const noun = addNoun(root, program, {
      ...{ view, summary, exampleId, idUsage: 'client-id' },
      filters: filters(),
    });
    addCreate(noun, program, kind);
    addUpdate(noun, program, kind);
    addVerbs(noun, program, kind);
    addFleet(noun, program, kind);
  }
}
