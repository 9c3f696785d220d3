/**
 * A whole system of real processes on free ports: authority and broker, one resource, two permissions,
 * and devices that enroll as they do in the field.
 *
 * @module
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort, mustRun, type Running, startProgram, temporaryDir } from './processes.ts';

export interface LiveStack {
  readonly dir: string;
  readonly issuer: string;
  readonly resource: string;
  readonly brokerPort: number;
  readonly authority: Running;
  readonly broker: Running;
  /** Runs the operator's command line against the authority. */
  latchkey(...args: readonly string[]): Promise<string>;
  /** Enrolls a device with the role `thermostat`; returns its state directory. */
  enroll(clientId: string, ...options: readonly string[]): Promise<string>;
  /** What a device with that state directory gets from `latchkey-agent token`. */
  token(stateDir: string, ...options: readonly string[]): Promise<string>;
}

export async function startLiveStack(): Promise<LiveStack> {
  const dir = temporaryDir();
  const [authorityPort, brokerPort] = [await freePort(), await freePort()];
  const issuer = `http://localhost:${authorityPort}`;
  const resource = `mqtt://localhost:${brokerPort}`;
  const authorityDir = join(dir, 'authority');
  const latchkey = (...args: readonly string[]) =>
    mustRun('latchkey', ['--data-dir', authorityDir, ...args]);

  await mustRun('latchkey', ['init', '--data-dir', authorityDir, '--issuer', issuer]);
  const listen = `127.0.0.1:${authorityPort}`;
  const authority = startProgram('latchkey', [
    'serve',
    '--data-dir',
    authorityDir,
    '--listen',
    listen,
  ]);
  await authority.event('authority.listening');
  await latchkey('resource', 'create', resource, '--kind', 'mqtt', '--token-ttl', '900');
  for (const [name, scope] of [
    ['telemetry', 'pub:devices/{client_id}/telemetry/#'],
    ['commands', 'sub:devices/{client_id}/commands/+'],
  ] as const) {
    await latchkey('permission', 'create', name, '--resource', resource, '--scope', scope);
  }
  await latchkey(
    'role',
    'create',
    'thermostat',
    '--permission',
    'telemetry',
    '--permission',
    'commands',
  );

  const config = join(dir, 'broker.toml');
  writeFileSync(
    config,
    `issuer = "${issuer}"\naudience = "${resource}"\nlog_level = "debug"\n\n[[listen]]\ntype = "tcp"\nhost = "127.0.0.1"\nport = ${brokerPort}\n`,
  );
  const broker = startProgram('latchkey-broker', ['--config', config]);
  await broker.event('broker.listening');

  return {
    dir,
    issuer,
    resource,
    brokerPort,
    authority,
    broker,
    latchkey,
    enroll: async (clientId, ...options) => {
      const codeFile = join(dir, `${clientId}.code`);
      const stateDir = join(dir, clientId);
      const once = ['--role', 'thermostat', '--uses', '1', '--expires', '1h'];
      writeFileSync(codeFile, await latchkey('enrollment', 'create', ...once, ...options));
      await mustRun('latchkey-agent', [
        ...['enroll', '--authority', issuer, '--client-id', clientId],
        ...['--code-file', codeFile, '--state-dir', stateDir],
      ]);
      return stateDir;
    },
    token: async (stateDir, ...options) =>
      (await mustRun('latchkey-agent', ['token', '--state-dir', stateDir, ...options])).trim(),
  };
}
