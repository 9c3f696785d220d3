/**
 * What `latchkey doctor` looks at in a data directory; it changes nothing, and a running authority does
 * not notice.
 *
 * Units   bytes, seconds, days.
 * Errors  none: what a check throws becomes its finding.
 * Source  DESIGN 5 and 8.
 *
 * @module
 */
import { existsSync, statfsSync, statSync } from 'node:fs';
import { type Clock, formatInstant, type Kid, type NumericDate } from '@latchkey/shared';
import { findChainFault } from '../audit/registry-chain.js';
import type { Config } from '../config.js';
import { dataDirPaths } from '../data-dir.js';
import { loadTls } from '../http/tls.js';
import { type OpenDataDir, openDataDir } from '../open-authority.js';
import { readOperatorKey } from '../operator-key.js';
import { firstDamage } from '../registry/sqlite/database.js';
import { type Finding, fail, findingOf, ok, warn } from './finding.js';

export interface DataDirToCheck {
  readonly dataDir: string;
  readonly config: Config;
  readonly clock: Clock;
  readonly credentialsDirectory?: string | undefined;
}

const DAY_SECONDS = 86_400;
const MIB = 1_048_576;
/** Below this a burst of tokens may fill the disk before anybody looks. */
const LITTLE_DISK_BYTES = 1024 * MIB;
const NO_DISK_BYTES = 64 * MIB;
/** A log that nothing copies into the registry: its thread has ended, or a reader never does. */
const LONG_LOG_BYTES = 64 * MIB;
const CERTIFICATE_WARNING_DAYS = 14;
/** Time for a schedule that checks once an hour, and for a service that was down. */
const LATE_ROTATION_DAYS = 2;

function checkModes(dataDir: string): Finding {
  const { registry } = dataDirPaths(dataDir);
  for (const [path, mode] of [
    [dataDir, 0o700],
    [registry, 0o600],
  ] as const) {
    const actual = statSync(path).mode & 0o777;
    if ((actual & ~mode) !== 0) {
      const message = `${path} is open to others (mode ${actual.toString(8).padStart(4, '0')})`;
      return fail('files', message, `chmod ${mode.toString(8)} ${path}`);
    }
  }
  return ok('files', `${dataDir} is its owner's alone`);
}

function checkOperatorKey(path: string): Finding {
  if (!existsSync(path)) return ok('operator key', 'is kept elsewhere');
  readOperatorKey(path);
  return ok('operator key', path);
}

function checkDisk(dataDir: string): Finding {
  const { bavail, bsize } = statfsSync(dataDir);
  const free = bavail * bsize;
  const message = `${Math.floor(free / MIB)} MiB are free`;
  const remedy = 'make room, or shorten audit_retention_days in authority.toml';
  if (free < NO_DISK_BYTES) return fail('disk', message, remedy);
  return free < LITTLE_DISK_BYTES ? warn('disk', message, remedy) : ok('disk', message);
}

function checkRegistry(dataDir: string): Finding {
  const { registry } = dataDirPaths(dataDir);
  const damage = firstDamage(registry);
  if (damage !== undefined) {
    return fail('registry', `is damaged: ${damage}`, 'latchkey restore FILE, from the last backup');
  }
  const log = `${registry}-wal`;
  const logBytes = existsSync(log) ? statSync(log).size : 0;
  const size = `${Math.ceil(statSync(registry).size / MIB)} MiB`;
  if (logBytes < LONG_LOG_BYTES) return ok('registry', `is whole, ${size}`);
  const message = `is whole, ${size}, but its log has ${Math.ceil(logBytes / MIB)} MiB`;
  return warn(
    'registry',
    message,
    'look for registry.checkpoints-failed in the log of the service',
  );
}

async function checkChain({ registry }: OpenDataDir): Promise<Finding> {
  const fault = await findChainFault(registry);
  const { lastSequence } = await registry.auditState();
  return fault === undefined
    ? ok('audit chain', `is whole to event ${lastSequence}`)
    : fail('audit chain', `event ${fault.sequence} ${fault.problem}`, 'latchkey audit verify');
}

/** Events are written with the clock of the service: a newer one than now means that it went back. */
async function checkClock({ registry }: OpenDataDir, clock: Clock): Promise<Finding> {
  const page = await registry.listEvents({}, { limit: 1, after: undefined, isNewestFirst: true });
  const newest = page.items[0]?.at ?? 0;
  const now = clock.now();
  const message = `says ${formatInstant(now)}`;
  return newest <= now
    ? ok('clock', message)
    : fail(
        'clock',
        `${message}, ${newest - now} s before the newest audit event`,
        'set the clock of this machine, and let it follow a time server (timedatectl set-ntp true)',
      );
}

async function checkSigningKeys(
  { signingKeys, keyFiles }: OpenDataDir,
  { config, clock }: DataDirToCheck,
): Promise<Finding> {
  const keys = await signingKeys.list();
  const active = keys.filter(({ status }) => status === 'active');
  const plain = keyFiles.list().filter(({ isEncrypted }) => !isEncrypted);
  const days = config.signingKeyRotationDays;
  const isLate = (since: NumericDate): boolean =>
    days > 0 && clock.now() - since > (days + LATE_ROTATION_DAYS) * DAY_SECONDS;
  const late = active.find(({ activatedAt }) => activatedAt !== undefined && isLate(activatedAt));
  if (late !== undefined) {
    const message = `${late.kid} signs for longer than ${days} days`;
    return warn('signing keys', message, 'latchkey signing-key rotate, and see that serve runs');
  }
  if (plain.length > 0) {
    const message = `${plain.length} of the private keys are not encrypted`;
    const remedy = 'set key_encryption_key_file, then run: latchkey signing-key encrypt';
    return warn('signing keys', message, remedy);
  }
  return ok('signing keys', `${active.length} active, all encrypted`);
}

function checkCertificate({ config: { tls }, clock }: DataDirToCheck): Finding {
  if (tls === undefined) return ok('certificate', 'none: TLS is spoken by a proxy, or not at all');
  const { expiresAt } = loadTls(tls);
  if (expiresAt === undefined) return ok('certificate', 'has no date of expiry');
  const days = Math.floor((expiresAt - clock.now()) / DAY_SECONDS);
  const message = `${days < 0 ? 'expired' : 'expires'} on ${formatInstant(expiresAt)}`;
  const remedy = `renew ${tls.certificateFile}, then send SIGHUP to the service`;
  if (days < 0) return fail('certificate', message, remedy);
  return days < CERTIFICATE_WARNING_DAYS
    ? warn('certificate', message, remedy)
    : ok('certificate', message);
}

export interface CheckedDataDir {
  /** In the order in which they are best mended. */
  readonly findings: readonly Finding[];
  /** Keys that sign now, as far as they could be read. */
  readonly activeKids: readonly Kid[];
}

export async function checkDataDir(target: DataDirToCheck): Promise<CheckedDataDir> {
  const { dataDir, clock } = target;
  const findings = [
    await findingOf('files', () => checkModes(dataDir)),
    await findingOf('disk', () => checkDisk(dataDir)),
    await findingOf('operator key', () => checkOperatorKey(dataDirPaths(dataDir).operatorKey)),
    await findingOf('certificate', () => checkCertificate(target)),
    await findingOf('registry', () => checkRegistry(dataDir)),
  ];
  let parts: OpenDataDir | undefined;
  const opened = await findingOf('settings', async () => {
    parts = await openDataDir({ ...target, isReadOnly: true });
    return ok('settings', 'fit the registry and the keys');
  });
  findings.unshift(opened);
  if (parts === undefined) return { findings, activeKids: [] };
  const open = parts;
  try {
    findings.push(
      await findingOf('clock', () => checkClock(open, clock)),
      await findingOf('signing keys', () => checkSigningKeys(open, target)),
      await findingOf('audit chain', () => checkChain(open)),
    );
    const keys = await open.signingKeys.list();
    const active = keys.filter(({ status }) => status === 'active');
    return { findings, activeKids: active.map(({ kid }) => kid) };
  } finally {
    await open.registry.close();
  }
}
