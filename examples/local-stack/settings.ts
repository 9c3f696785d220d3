/**
 * The data directory of the stack, and the configuration files it writes for each program.
 *
 * Units   seconds where a key says so.
 * Errors  `UsageError` when the directory was made for other ports: an issuer and an audience are
 *         names that tokens carry, so they stay what they were.
 * Source  `agent.example.toml`, `broker.example.toml`.
 *
 * @module
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { UsageError } from '@latchkey/shared';
import type { StackOptions } from './options.js';
import { exampleFile } from './programs.js';
import type { Reading } from './readings.js';

export const THERMOSTAT = 'thermostat';
export const AIR_CONDITIONER = 'air-conditioner';
export const DEVICES = [THERMOSTAT, AIR_CONDITIONER] as const;
export type DeviceName = (typeof DEVICES)[number];

export const TOPICS = {
  temperature: `devices/${THERMOSTAT}/telemetry/temperature`,
  power: `devices/${AIR_CONDITIONER}/commands/power`,
  state: `devices/${AIR_CONDITIONER}/state`,
} as const;

export interface Settings {
  readonly dataDir: string;
  readonly issuer: string;
  /** Audience of the tokens and the broker's URL. */
  readonly resource: string;
  readonly authorityDir: string;
  readonly brokerConfig: string;
  stateDir(device: DeviceName): string;
  agentConfig(device: DeviceName): string;
}

/** TOML's basic strings are JSON's, as far as these values go. */
const quote = (value: unknown): string => JSON.stringify(value);

function brokerToml(settings: Settings, port: number): string {
  return `# Written by the local stack at each start.
issuer = ${quote(settings.issuer)}
audience = ${quote(settings.resource)}
log_level = "debug"

[[listen]]
type = "tcp"
host = "127.0.0.1"
port = ${port}
`;
}

/** The file of this folder that a reader copies, with some of its options set. */
function deviceToml(device: DeviceName, options: Readonly<Record<string, string>>): string {
  let text = readFileSync(exampleFile(`${device}.toml`), 'utf8');
  for (const [key, line] of Object.entries(options)) {
    const known = new RegExp(`^${key} = .*$`, 'm');
    if (!known.test(text)) throw new Error(`${device}.toml has no ${key}`);
    text = text.replace(known, () => line);
  }
  return `# Written by the local stack at each start, from examples/${device}.toml.
log_level = "debug"
${text}`;
}

const option = (key: string, value: unknown) => ({ [key]: `${key} = ${quote(value)}` });

const placeOf = (settings: Settings, device: DeviceName) => ({
  ...option('state_dir', settings.stateDir(device)),
  ...option('url', settings.resource),
});

function thermostatToml(settings: Settings, reading: Reading, limit: number): string {
  const [[key, value]] = Object.entries(reading.origin) as [[string, unknown]];
  return deviceToml(THERMOSTAT, {
    ...placeOf(settings, THERMOSTAT),
    file: `${key} = ${quote(value)}`,
    ...option('scale', reading.scale),
    ...option('unit', reading.unit),
    ...option('above', limit),
  });
}

/** The ports a data directory was made for, or nothing when it is new. */
function checkPorts(dataDir: string, options: StackOptions): void {
  const file = join(dataDir, 'ports.json');
  const ports = JSON.stringify({
    'authority-port': options.authorityPort,
    'broker-port': options.brokerPort,
  });
  if (!existsSync(file)) {
    writeFileSync(file, `${ports}\n`);
    return;
  }
  const before = readFileSync(file, 'utf8').trim();
  if (before !== ports) {
    throw new UsageError(
      `${dataDir} was made for other ports (${before}); start with those, or with another --data-dir`,
    );
  }
}

/** Makes the data directory on the first start; the same directory gives the same settings. */
export function openSettings(options: StackOptions): Settings {
  const { dataDir } = options;
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  checkPorts(dataDir, options);
  return {
    dataDir,
    issuer: `http://localhost:${options.authorityPort}`,
    resource: `mqtt://localhost:${options.brokerPort}`,
    authorityDir: join(dataDir, 'authority'),
    brokerConfig: join(dataDir, 'broker.toml'),
    stateDir: (device) => join(dataDir, device),
    agentConfig: (device) => join(dataDir, `${device}.toml`),
  };
}

export function writeConfigs(settings: Settings, options: StackOptions, reading: Reading): void {
  const limit = options.limit ?? reading.defaultLimit;
  writeFileSync(settings.brokerConfig, brokerToml(settings, options.brokerPort));
  writeFileSync(settings.agentConfig(THERMOSTAT), thermostatToml(settings, reading, limit));
  writeFileSync(
    settings.agentConfig(AIR_CONDITIONER),
    deviceToml(AIR_CONDITIONER, placeOf(settings, AIR_CONDITIONER)),
  );
}
