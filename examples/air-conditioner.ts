/**
 * The program behind the air conditioner's `power` action: reads a command from stdin, keeps the
 * switch in a file, prints the new state as JSON. The agent publishes what it prints.
 *
 *     echo on | node air-conditioner.js /var/lib/air-conditioner/power
 *
 * @module
 */
import { readFileSync, writeFileSync } from 'node:fs';

const [, , stateFile] = process.argv;
const command = readFileSync(0, 'utf8').trim();

if (stateFile === undefined || (command !== 'on' && command !== 'off')) {
  process.stderr.write('usage: echo on|off | air-conditioner STATE_FILE\n');
  process.exitCode = 2;
} else {
  writeFileSync(stateFile, `${command}\n`);
  process.stdout.write(JSON.stringify({ power: command }));
}
