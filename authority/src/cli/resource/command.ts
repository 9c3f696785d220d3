/** `latchkey resource`. */
import { type Command, Option } from 'commander';
import { addCommand, addDelete, addNoun, type Program } from '../command.js';
import { type CreateResourceOptions, createResource } from './create.js';
import { type UpdateResourceOptions, updateResource } from './update.js';
import { resourceView } from './view.js';

export function addResourceCommand(parent: Command, program: Program): void {
  const resource = addNoun(parent, program, {
    view: resourceView,
    summary: 'resource servers that tokens are for: a broker or an HTTP API',
    idUsage: 'identifier',
    exampleId: 'mqtt://localhost:1883',
  });
  addCommand(resource, {
    usage: 'create <identifier>',
    summary: 'create a resource; its identifier is the audience of its tokens',
    examples: [
      'resource create mqtt://localhost:1883 --kind mqtt --token-ttl 15m --data-dir ./authority',
    ],
  })
    .addOption(new Option('--kind <kind>', 'mqtt or http').makeOptionMandatory())
    .option('--token-ttl <duration>', 'lifetime of its tokens, 60s to 1d (default: 900s)')
    .option('--signing-alg <alg>', 'EdDSA, Ed25519, ES256 or RS256 (default: EdDSA)')
    .option('--narrows-scope', 'give what a request may have instead of refusing it')
    .option('--legacy-claims', 'put scp and cid into its tokens')
    .option('--json', 'print JSON')
    .action(async (id: string, _options: CreateResourceOptions, self: Command) => {
      const options = self.optsWithGlobals<CreateResourceOptions>();
      program.finish(await createResource(id, options, program.io));
    });
  addCommand(resource, {
    usage: 'update <identifier>',
    summary: 'change how tokens for a resource are made',
    examples: ['resource update mqtt://localhost:1883 --token-ttl 5m --data-dir ./authority'],
  })
    .option('--token-ttl <duration>', 'lifetime of its tokens, 60s to 1d')
    .option('--signing-alg <alg>', 'EdDSA, Ed25519, ES256 or RS256')
    .option('--narrows-scope', 'give what a request may have instead of refusing it')
    .option('--no-narrows-scope', 'refuse it')
    .option('--legacy-claims', 'put scp and cid into its tokens')
    .option('--no-legacy-claims', 'do not')
    .option('--json', 'print JSON')
    .action(async (id: string, _options: UpdateResourceOptions, self: Command) => {
      const options = self.optsWithGlobals<UpdateResourceOptions>();
      program.finish(await updateResource(id, options, program.io));
    });
  addDelete(resource, program, {
    view: resourceView,
    summary: 'delete a resource that no permission is for',
    idUsage: 'identifier',
    exampleId: 'mqtt://localhost:1883',
  });
}
