/**
 * `latchkey doctor`: looks at everything that can be wrong with an authority, and says what to do.
 *
 * Units   none.
 * Errors  exit code 1 when something does not work; warnings alone exit with 0.
 * Source  STYLE 2.10.
 *
 * @module
 */
import { EXIT, type ExitCode, type Issuer, parseIssuer, UsageError } from '@latchkey/shared';
import type { Config } from '../config.js';
import { type CheckedDataDir, checkDataDir } from '../doctor/data-dir-checks.js';
import { type Finding, findingOf, ok } from '../doctor/finding.js';
import { checkAuthority, checkBroker } from '../doctor/network-checks.js';
import { loadConfig } from '../open-authority.js';
import { type Io, printJson, printLine } from './io.js';

export interface DoctorOptions {
  readonly dataDir?: string;
  readonly authority?: string;
  readonly broker?: readonly string[];
  /** Without the network: `--no-network`. */
  readonly network?: boolean;
  readonly json?: boolean;
}

interface Local extends CheckedDataDir {
  readonly issuer: Issuer | undefined;
}

async function checkLocal(dataDir: string, io: Io): Promise<Local> {
  let config: Config | undefined;
  const settings = await findingOf('settings', () => {
    config = loadConfig(dataDir);
    return ok('settings', 'can be read');
  });
  if (config === undefined) return { findings: [settings], activeKids: [], issuer: undefined };
  const { clock, credentialsDirectory } = io;
  const checked = await checkDataDir({ dataDir, config, clock, credentialsDirectory });
  return { ...checked, issuer: config.issuer };
}

const LABELS = { ok: 'ok  ', warn: 'WARN', fail: 'FAIL' } as const;

function formatFinding({ check, level, message, remedy }: Finding): string {
  const line = `${LABELS[level]}  ${check}: ${message}`;
  return remedy === undefined ? line : `${line}\n      -> ${remedy}`;
}

export async function doctor(options: DoctorOptions, io: Io): Promise<ExitCode> {
  const { dataDir, authority, broker = [], network = true, json } = options;
  if (dataDir === undefined && authority === undefined && broker.length === 0) {
    throw new UsageError('say what to look at: --data-dir, --authority or --broker');
  }
  const local = dataDir === undefined ? undefined : await checkLocal(dataDir, io);
  const issuer = authority === undefined ? local?.issuer : parseIssuer(authority, '--authority');
  const findings = [...(local?.findings ?? [])];
  if (network && issuer !== undefined) {
    const { http, clock } = io;
    const activeKids = local?.activeKids;
    findings.push(...(await checkAuthority({ issuer, http, clock, activeKids })));
  }
  for (const url of broker) findings.push(await checkBroker(url, io.http));
  const isWell = findings.every(({ level }) => level !== 'fail');
  if (json) printJson(io, { is_well: isWell, findings });
  else for (const finding of findings) printLine(io, formatFinding(finding));
  return isWell ? EXIT.ok : EXIT.failed;
}
