/**
 * Where the thermostat's readings come from on this machine: a thermal sensor if there is one, else
 * the load average, else a command that prints it. Nothing is invented unless asked for.
 *
 * Units   degrees Celsius, or processes waiting to run (load).
 * Errors  none.
 * Source  Linux kernel documentation: sysfs thermal zones (millidegrees), proc(5) `loadavg`.
 *
 * @module
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { StackOptions } from './options.js';
import { exampleCommand } from './programs.js';

export interface Reading {
  /** For a person. */
  readonly description: string;
  /** `file` or `command` of the agent's source. */
  readonly origin: { readonly file: string } | { readonly command: readonly string[] };
  readonly scale: number;
  readonly unit: string;
  readonly defaultLimit: number;
}

const THERMAL = '/sys/class/thermal';
const LOAD = '/proc/loadavg';

function isNumberFile(path: string): boolean {
  try {
    return /^-?[0-9]+\s*$/.test(readFileSync(path, 'utf8'));
  } catch {
    return false; // a zone whose sensor is off exists and cannot be read
  }
}

function thermalFile(): string | undefined {
  if (!existsSync(THERMAL)) return undefined;
  return readdirSync(THERMAL)
    .filter((name) => name.startsWith('thermal_zone'))
    .map((name) => `${THERMAL}/${name}/temp`)
    .find(isNumberFile);
}

/** What somebody writes into a file, degrees Celsius. */
function sensorReading(file: string): Reading {
  if (!existsSync(file)) writeFileSync(file, '20\n');
  return { description: file, origin: { file }, scale: 1, unit: 'celsius', defaultLimit: 26 };
}

export function chooseReading({
  isSimulated,
  sensor,
}: Pick<StackOptions, 'isSimulated' | 'sensor'>): Reading {
  if (sensor !== undefined) return sensorReading(sensor);
  if (isSimulated) {
    const command = exampleCommand('simulated-thermometer');
    return {
      description: 'an invented temperature (--simulate)',
      origin: { command },
      scale: 1,
      unit: 'celsius',
      defaultLimit: 26,
    };
  }
  const file = thermalFile();
  if (file !== undefined) {
    return { description: file, origin: { file }, scale: 0.001, unit: 'celsius', defaultLimit: 60 };
  }
  if (existsSync(LOAD)) {
    return { description: LOAD, origin: { file: LOAD }, scale: 1, unit: 'load', defaultLimit: 1 };
  }
  const command = [process.execPath, '-p', 'os.loadavg()[0]'];
  return {
    description: "this machine's load",
    origin: { command },
    scale: 1,
    unit: 'load',
    defaultLimit: 1,
  };
}
