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
import { exampleCommand } from './programs.js';
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

function agentToml(settings: Settings, device: DeviceName): string {
  return `# Written by the local stack at each start.
state_dir = ${quote(settings.stateDir(device))}
log_level = "debug"

[broker]
url = ${quote(settings.resource)}
resource = ${quote(settings.resource)}
keepalive_seconds = 30
`;
}

function thermostatToml(reading: Reading, limit: number): string {
  const [[key, value]] = Object.entries(reading.origin) as [[string, unknown]];
  return `
[[source]]
name = "temperature"
${key} = ${quote(value)}
scale = ${reading.scale}
unit = ${quote(reading.unit)}
every_seconds = 2
topic = ${quote(TOPICS.temperature)}
qos = 1

[[source.limit]]
above = ${limit}
topic = ${quote(TOPICS.power)}
payload_above = "on"
payload_below = "off"
`;
}

function airConditionerToml(settings: Settings): string {
  const command = [
    ...exampleCommand(AIR_CONDITIONER),
    join(settings.stateDir(AIR_CONDITIONER), 'power'),
  ];
  return `
[[action]]
name = "power"
filter = ${quote(TOPICS.power)}
command = ${quote(command)}
timeout_seconds = 10
topic = ${quote(TOPICS.state)}
qos = 1
`;
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
  writeFileSync(
    settings.agentConfig(THERMOSTAT),
    agentToml(settings, THERMOSTAT) + thermostatToml(reading, limit),
  );
  writeFileSync(
    settings.agentConfig(AIR_CONDITIONER),
    agentToml(settings, AIR_CONDITIONER) + airConditionerToml(settings),
  );
}
