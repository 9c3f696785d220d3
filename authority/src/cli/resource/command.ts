/** `latchkey resource`. */
import { type Command, Option } from 'commander';
import { addCommand, addNoun, type Program } from '../command.js';
import { type CreateResourceOptions, createResource } from './create.js';
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
    .option('--json', 'print JSON')
    .action(async (id: string, _options: CreateResourceOptions, self: Command) => {
      const options = self.optsWithGlobals<CreateResourceOptions>();
      program.finish(await createResource(id, options, program.io));
    });
}
