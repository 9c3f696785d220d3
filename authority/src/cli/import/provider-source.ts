/**
 * Turns the clients of another provider into lines of an import, and says what stays behind.
 *
 * A scope or role of there becomes the role here that `--role-for` names, or the one of the same name.
 *
 * Units   none.
 * Errors  `UsageError`.
 * Source  none.
 *
 * @module
 */
import { readFileSync, statSync } from 'node:fs';
import { FormatError, isTemplateValue, UsageError } from '@latchkey/shared';
import { carriedSecret } from '../../registry/client-secret.js';
import type { Item } from '../management-client.js';
import {
  type Loss,
  PROVIDERS,
  type Provider,
  type ProviderClient,
  readProviderExport,
} from './providers.js';
import { type Defaults, rejectedObject, type Source, toSend } from './source.js';

const MAX_FILE_BYTES = 64 * 1024 * 1024;

export function parseProvider(text: string): Provider {
  const provider = PROVIDERS.find((one) => one === text);
  if (provider !== undefined) return provider;
  throw new UsageError(`--from must be one of ${PROVIDERS.join(', ')}`);
}

/** `read:orders=reader` as a pair; a scope may hold an `=` itself, a role may not. */
export function parseRoleFor(options: readonly string[]): ReadonlyMap<string, string> {
  return new Map(
    options.map((text) => {
      const at = text.lastIndexOf('=');
      if (at < 1) throw new UsageError('--role-for must look like scope=role');
      return [text.slice(0, at), text.slice(at + 1)];
    }),
  );
}

function readText(file: string): string {
  try {
    if (statSync(file).size <= MAX_FILE_BYTES) return readFileSync(file, 'utf8');
  } catch (error) {
    throw new UsageError(`cannot read ${file} (${(error as NodeJS.ErrnoException).code})`);
  }
  throw new UsageError(`${file} must not exceed ${MAX_FILE_BYTES} bytes`);
}

interface Carried {
  readonly line: Item;
  readonly losses: readonly Loss[];
}

/** What cannot be kept of a secret, such as the hash of one. */
function secretProblem(secret: string | undefined): string | undefined {
  if (secret === undefined) return undefined;
  if (/^\$(?:2[aby]|argon2|scrypt|pbkdf2)/.test(secret)) {
    return 'is a hash of another kind than is kept here; let it have a new one: latchkey secret create';
  }
  try {
    carriedSecret(secret);
    return undefined;
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    return error.problem;
  }
}

function carry(
  client: ProviderClient,
  { roleFor, known }: { roleFor: ReadonlyMap<string, string>; known: ReadonlySet<string> },
): Carried {
  const { clientId, name, scopes, secret, isSuspended } = client;
  const roleOf = (scope: string) => roleFor.get(scope) ?? (known.has(scope) ? scope : undefined);
  const roles = new Set(scopes.flatMap((scope) => roleOf(scope) ?? []));
  const problem = secretProblem(secret);
  const isLabel = name !== undefined && isTemplateValue(name);
  const losses = [
    ...client.losses,
    ...(problem === undefined ? [] : [{ what: 'secret', why: problem }]),
    ...(name === undefined || isLabel ? [] : [{ what: 'name', why: 'cannot be the label "name"' }]),
    ...[...new Set(scopes)]
      .filter((scope) => roleOf(scope) === undefined)
      .map((scope) => ({
        what: `scope ${scope}`,
        why: `there is no role of that name: make one, or give --role-for ${scope}=ROLE`,
      })),
  ];
  return {
    line: {
      client_id: clientId,
      roles: [...roles],
      labels: isLabel ? { name } : {},
      status: isSuspended ? 'suspended' : 'active',
      ...(secret !== undefined && problem === undefined && { client_secret: secret }),
    },
    losses: losses.map((loss) => ({ clientId, ...loss })),
  };
}

export interface ProviderSource {
  readonly source: Source;
  /** What stays behind of every client. */
  readonly losses: readonly Loss[];
}

/** Reads the file now; `knownRoles` are those of the authority. */
export function readProviderFile(
  file: string,
  options: {
    readonly from: string;
    readonly roleFor: readonly string[];
    readonly defaults: Defaults;
  },
): (knownRoles: readonly string[]) => ProviderSource {
  const roleFor = parseRoleFor(options.roleFor);
  const { clients, left } = readProviderExport(parseProvider(options.from), readText(file));
  return (knownRoles) => {
    const carried = clients.map((client) => carry(client, { roleFor, known: new Set(knownRoles) }));
    let position = 0;
    async function* lines(): Source['lines'] {
      for (const { line } of carried) {
        position += 1;
        yield {
          place: `client ${position}`,
          read: () => toSend(line, options.defaults),
          rejected: (reason) => rejectedObject(line, reason),
        };
      }
    }
    return {
      source: {
        lines: lines(),
        size: carried.length,
        position: () => position,
        rejectsExtension: '.jsonl',
        rejectsHeader: () => '',
      },
      losses: [...left, ...carried.flatMap(({ losses }) => losses)],
    };
  };
}
