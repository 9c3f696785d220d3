/** The devices of `examples/`: a sensor, two files of configuration, and a switch. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  freePort,
  mustRun,
  ROOT,
  runProgram,
  startProgram,
  temporaryDir,
} from '../helpers/processes.ts';

test('a warm room switches the air conditioner on and a cool one off, by configuration alone', async () => {
  const dir = temporaryDir();
  const sensor = join(dir, 'degrees');
  const dataDir = join(dir, 'data');
  const ports = ['--authority-port', `${await freePort()}`, '--broker-port', `${await freePort()}`];
  const stack = startProgram('local-stack', ['--data-dir', dataDir, '--sensor', sensor, ...ports]);
  await stack.line((line) => line.startsWith('Ctrl-C ends everything'));
  expect(readFileSync(sensor, 'utf8')).toBe('20\n'); // made, since there was none

  const switched = () => stack.lines.filter((line) => line.includes('ran power')).length;
  const told = /allowed air-conditioner publish devices\/air-conditioner\/state/;
  /** Resolves when the state was told for the nth time. */
  const untilTold = async (times: number) => {
    let seen = 0;
    await stack.line((line) => {
      if (told.test(line)) seen += 1;
      return seen === times;
    });
    return readFileSync(join(dataDir, 'power'), 'utf8');
  };
  const temperatures = (least: number) =>
    stack.line(
      () => stack.lines.filter((line) => /publish .*\/temperature/.test(line)).length >= least,
    );

  expect(await untilTold(1)).toBe('off');
  writeFileSync(sensor, '27.5\n');
  expect(await untilTold(2)).toBe('on');
  const before = stack.lines.filter((line) => /publish .*\/temperature/.test(line)).length;
  writeFileSync(sensor, '25.8\n'); // within the hysteresis
  await temperatures(before + 1);
  expect(switched()).toBe(2);
  writeFileSync(sensor, '25\n');
  expect(await untilTold(3)).toBe('off');
  expect(await stack.stop('SIGINT')).toBe(0);
});

test.each(['thermostat', 'air-conditioner'])(
  '%s.toml is valid and runs no program of ours',
  async (device) => {
    const file = join(ROOT, `examples/${device}.toml`);
    await mustRun('latchkey-agent', ['validate', '--config', file]);
    expect(readFileSync(file, 'utf8')).not.toMatch(/\.js|node/);
  },
);

test('--sensor and --simulate exclude each other', async () => {
  const outcome = await runProgram('local-stack', ['--sensor', 'x', '--simulate']);
  expect(outcome.exitCode).toBe(2);
  expect(outcome.stderr).toMatch(/--sensor.* cannot be used with .*--simulate/);
});
