/**
 * `latchkey-agent status`: what the running agent does, or what is on disk when none runs.
 *
 * Units   instants as ISO 8601 for people, NumericDate in JSON.
 * Errors  exit code 3 when no agent runs.
 * Source  DESIGN 7 (states).
 *
 * @module
 */
import { resolve } from 'node:path';
import { EXIT, formatInstant, UnreachableError } from '@latchkey/shared';
import { readIdentity } from '../identity.js';
import { askAgent } from '../local/ask.js';
import { checkStateDir, readPrivateFile, stateFile } from '../private-file.js';
import { type Io, writeLine } from './io.js';

export interface StatusOptions {
  readonly stateDir: string;
  readonly json?: boolean | undefined;
}

type Body = Readonly<Record<string, unknown>>;

/** Names and values of all members, nested ones as `name.member`. */
function membersOf(body: Body, prefix = ''): (readonly [string, string])[] {
  return Object.entries(body).flatMap(([name, value]) => {
    const label = `${prefix}${name}`;
    if (value === null || value === '') return [];
    if (Array.isArray(value)) return value.flatMap((one) => membersOf(one as Body, `${label}.`));
    if (typeof value === 'object') return membersOf(value as Body, `${label}.`);
    const isInstant = typeof value === 'number' && /(^|\.)(since|at|expires_at)$/.test(label);
    return [[label, isInstant ? formatInstant(value) : String(value)] as const];
  });
}

function linesOf(body: Body): readonly string[] {
  const members = membersOf(body);
  const width = Math.max(...members.map(([label]) => label.length)) + 2;
  return members.map(([label, value]) => `${label.padEnd(width)}${value}`);
}

/** What the state folder tells while no agent runs. */
async function statusOnDisk(stateDir: string): Promise<Body> {
  await checkStateDir(stateDir);
  const identity = await readIdentity(stateDir);
  const hasKey = (await readPrivateFile(stateFile(stateDir, 'key'))) !== undefined;
  if (identity === undefined) {
    return {
      state: hasKey ? 'enrolling' : 'offline',
      detail: hasKey
        ? 'a key was made, but the enrollment did not end; run enroll again'
        : 'not enrolled; run: latchkey-agent enroll',
    };
  }
  const { clientId, issuer, kid } = identity;
  return {
    state: 'offline',
    detail: hasKey ? 'enrolled; no agent runs' : 'enrolled, but the key file is missing',
    client_id: clientId,
    issuer,
    kid,
  };
}

export async function runStatus(options: StatusOptions, io: Io): Promise<number> {
  const stateDir = resolve(options.stateDir);
  const show = (body: Body): void => {
    if (options.json) writeLine(io.stdout, JSON.stringify(body));
    else for (const line of linesOf(body)) writeLine(io.stdout, line);
  };
  try {
    show((await askAgent(stateDir, 'GET', '/status')).body);
    return EXIT.ok;
  } catch (error) {
    if (!(error instanceof UnreachableError)) throw error;
    show(await statusOnDisk(stateDir));
    writeLine(io.stderr, error.message);
    return EXIT.unreachable;
  }
}
