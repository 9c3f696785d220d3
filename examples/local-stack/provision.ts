/**
 * What an operator does once for a new fleet, with the operator's own command line: resource,
 * permissions, roles, enrollment codes; and what each device does once: enroll.
 *
 * Each step looks first whether it is done, so a start that was broken off is finished by the next.
 *
 * Units   none.
 * Errors  what the programs printed.
 * Source  README "Fleet".
 *
 * @module
 */
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mustRun } from './programs.js';
import {
  AIR_CONDITIONER,
  DEVICES,
  type DeviceName,
  type Settings,
  THERMOSTAT,
} from './settings.js';

interface Permission {
  readonly name: string;
  readonly scope: string;
}

const PERMISSIONS: readonly Permission[] = [
  { name: 'telemetry', scope: 'pub:devices/{client_id}/telemetry/#' },
  { name: 'cooling', scope: 'pub:devices/{labels.cools-with}/commands/power' },
  { name: 'commands', scope: 'sub:devices/{client_id}/commands/+' },
  { name: 'state', scope: 'pub:devices/{client_id}/state' },
];

const ROLES: Readonly<Record<DeviceName, readonly string[]>> = {
  [THERMOSTAT]: ['telemetry', 'cooling'],
  [AIR_CONDITIONER]: ['commands', 'state'],
};

const LABELS: Readonly<Record<DeviceName, readonly string[]>> = {
  [THERMOSTAT]: [`cools-with=${AIR_CONDITIONER}`],
  [AIR_CONDITIONER]: [],
};

const repeat = (option: string, values: readonly string[]) =>
  values.flatMap((value) => [option, value]);

type Latchkey = (...args: readonly string[]) => Promise<string>;

async function createUnlessThere(
  latchkey: Latchkey,
  noun: string,
  id: string,
  options: readonly string[],
): Promise<void> {
  const listed = JSON.parse(await latchkey(noun, 'list', '--json')) as readonly Record<
    string,
    unknown
  >[];
  const isThere = listed.some((item) => item.name === id || item.identifier === id);
  if (!isThere) await latchkey(noun, 'create', id, ...options);
}

async function enroll(latchkey: Latchkey, settings: Settings, device: DeviceName): Promise<void> {
  const stateDir = settings.stateDir(device);
  if (existsSync(join(stateDir, 'identity.json'))) return;
  const answer = await latchkey(
    ...['enrollment', 'create', '--client-id', device, '--uses', '1', '--expires', '10m', '--json'],
    ...repeat('--role', [device]),
    ...repeat('--label', LABELS[device]),
  );
  const { enrollment_code: code } = JSON.parse(answer) as { readonly enrollment_code: string };
  // By file and not by argument: every user of a machine can read the arguments of its processes.
  const codeFile = join(settings.dataDir, `${device}.code`);
  writeFileSync(codeFile, code, { mode: 0o600 });
  try {
    await mustRun('latchkey-agent', [
      ...['enroll', '--authority', settings.issuer, '--client-id', device],
      ...['--code-file', codeFile, '--state-dir', stateDir],
    ]);
  } finally {
    rmSync(codeFile, { force: true });
  }
}

/** Makes the authority's data directory unless it is there. */
export async function initAuthority(settings: Settings): Promise<void> {
  if (existsSync(join(settings.authorityDir, 'authority.toml'))) return;
  await mustRun('latchkey', [
    'init',
    '--data-dir',
    settings.authorityDir,
    '--issuer',
    settings.issuer,
  ]);
}

/** Provisions the fleet through the running authority; `tell` gets each command that changes it. */
export async function provisionFleet(
  settings: Settings,
  tell: (command: string) => void,
): Promise<void> {
  const latchkey: Latchkey = (...args) => {
    if (args[1] !== 'list') tell(`latchkey ${args.join(' ')}`);
    return mustRun('latchkey', ['--data-dir', settings.authorityDir, ...args]);
  };
  const { resource } = settings;
  await createUnlessThere(latchkey, 'resource', resource, ['--kind', 'mqtt', '--token-ttl', '900']);
  for (const { name, scope } of PERMISSIONS) {
    await createUnlessThere(latchkey, 'permission', name, [
      '--resource',
      resource,
      '--scope',
      scope,
    ]);
  }
  for (const device of DEVICES) {
    await createUnlessThere(latchkey, 'role', device, repeat('--permission', ROLES[device]));
    await enroll(latchkey, settings, device);
  }
}
