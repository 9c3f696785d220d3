/**
 * Runs commands as a document gives them, but for the ports; and what a person does: waits until a
 * server is up.
 *
 * @module
 */
import { join } from 'node:path';
import { freePort, type Outcome, ROOT, runCommand, temporaryDir } from './processes.ts';

/** Every `sh` block of a text, in order. */
export function shellBlocks(text: string): readonly string[] {
  return [...text.matchAll(/```sh\n(.*?)```/gs)].map(([, block]) => block as string);
}

export async function runDocumented(commands: string): Promise<Outcome> {
  const ports = { '9400': await freePort(), '1883': await freePort(), '9401': await freePort() };
  const onFreePorts = (text: string) =>
    Object.entries(ports).reduce((all, [from, to]) => all.replaceAll(from, `${to}`), text);
  const isUp = (port: number) =>
    `until (: > /dev/tcp/127.0.0.1/${port}) 2>/dev/null; do sleep 0.05; done`;
  const ready = onFreePorts(commands)
    .replaceAll(/^npx latchkey serve .*&$/gm, (line) => `${line}\n${isUp(ports['9400'])}`)
    .replaceAll(/^npx latchkey-broker --config .*&$/gm, (line) => `${line}\n${isUp(ports['1883'])}`)
    .replaceAll('mosquitto_pub', `mosquitto_pub -p ${ports['1883']}`)
    .replaceAll('npx ', `${join(ROOT, 'node_modules/.bin')}/`);
  const script = `set -euo pipefail\ntrap 'kill $(jobs -p)' EXIT\n${ready}`;
  return runCommand('bash', ['-c', script], { cwd: temporaryDir() });
}
