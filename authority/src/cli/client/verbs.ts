/**
 * `latchkey device suspend|resume|revoke|void-tokens|delete <id>`, and the same for services.
 *
 * Units   `before`: an ISO 8601 instant.
 * Errors  those of `confirm` and `openManagement`.
 * Source  STYLE 2.4 (revocation is permanent, suspension is not).
 *
 * @module
 */
import { EXIT, type ExitCode } from '@latchkey/shared';
import { confirm } from '../confirm.js';
import type { DeleteOptions } from '../delete.js';
import { type Io, printNote } from '../io.js';
import { itemPath, openManagement } from '../management-client.js';
import type { NounView } from '../noun-view.js';
import { printItem, type ShowOptions } from '../show.js';

export interface VerbOptions extends DeleteOptions, ShowOptions {}

export interface DeleteClientOptions extends DeleteOptions {
  readonly freeId?: boolean;
}

export type Verb = 'suspend' | 'resume' | 'revoke' | 'void-tokens';

/** Questions about what cannot be undone. */
const QUESTIONS: Partial<Record<Verb, (id: string) => string>> = {
  revoke: (id) => `revoke ${id} for ever`,
  'void-tokens': (id) => `void every token that ${id} has`,
};

export async function runVerb(
  view: NounView,
  verb: Verb,
  id: string,
  options: VerbOptions,
  io: Io,
): Promise<ExitCode> {
  const question = QUESTIONS[verb];
  if (question !== undefined) await confirm(question(id), options, io);
  const management = await openManagement(options, io);
  // So that `device revoke` never ends a service of that name.
  await management.get(itemPath(view.path, id));
  printItem(view, await management.post(`${itemPath('/clients', id)}/${verb}`), options, io);
  return EXIT.ok;
}

/** With `--free-id` also for a client that was deleted before. */
export async function deleteClient(
  view: NounView,
  id: string,
  options: DeleteClientOptions,
  io: Io,
): Promise<ExitCode> {
  const { freeId = false } = options;
  await confirm(`delete the ${view.noun} ${id}${freeId ? ' and free its id' : ''}`, options, io);
  const management = await openManagement(options, io);
  const path = itemPath(view.path, id);
  const known = freeId ? await management.list(view.path, { id_prefix: id }) : undefined;
  if (known === undefined || known.some((client) => client.client_id === id)) {
    await management.remove(path);
  }
  if (freeId) await management.post(`${itemPath('/clients', id)}/free`);
  printNote(io, `${view.noun} ${id} is deleted; its id ${freeId ? 'is free' : 'stays taken'}`);
  return EXIT.ok;
}
