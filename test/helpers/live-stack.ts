/**
 * A whole system of real processes on free ports: authority and broker, one resource, two permissions,
 * and devices that enroll as they do in the field.
 *
 * @module
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { exportPrivatePem, generateKey } from '@latchkey/shared';
import { freePort, mustRun, type Running, startProgram, temporaryDir } from './processes.ts';

export interface LiveStack {
  readonly dir: string;
  readonly issuer: string;
  readonly resource: string;
  readonly brokerPort: number;
  readonly authority: Running;
  readonly authorityDir: string;
  readonly broker: Running;
  /** Starts the broker once more with the same configuration. */
  startBroker(): Promise<Running>;
  /** Runs the operator's command line against the authority. */
  latchkey(...args: readonly string[]): Promise<string>;
  /** Enrolls a device with the role `thermostat`; returns its state directory. */
  enroll(clientId: string, ...options: readonly string[]): Promise<string>;
  /** What a device with that state directory gets from `latchkey-agent token`. */
  token(stateDir: string, ...options: readonly string[]): Promise<string>;
}

/** Registers the broker's service and its key; returns what its configuration says about the feed. */
async function addFeedReader(dir: string, latchkey: LiveStack['latchkey']): Promise<string> {
  const key = generateKey();
  const [keyFile, publicFile] = [join(dir, 'broker.key'), join(dir, 'broker.jwk')];
  writeFileSync(keyFile, exportPrivatePem(key), { mode: 0o600 });
  writeFileSync(publicFile, JSON.stringify(key.publicKey.jwk));
  await latchkey('role', 'create', 'feed-reader', '--permission', 'feed:read');
  const options = ['--role', 'feed-reader', '--public-key', publicFile];
  await latchkey('service', 'create', 'broker-1', ...options);
  return `[feed]\nclient_id = "broker-1"\nkey_file = "${keyFile}"\n`;
}

/** `hasFeed`: the broker follows the trust feed. */
export async function startLiveStack({ hasFeed = false } = {}): Promise<LiveStack> {
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
  const state = hasFeed ? `state_file = "${join(dir, 'broker-state.db')}"\n` : '';
  const feed = hasFeed ? await addFeedReader(dir, latchkey) : '';
  writeFileSync(
    config,
    `issuer = "${issuer}"\naudience = "${resource}"\nlog_level = "debug"\n${state}\n${feed}[[listen]]\ntype = "tcp"\nhost = "127.0.0.1"\nport = ${brokerPort}\n`,
  );
  const startBroker = async (): Promise<Running> => {
    const running = startProgram('latchkey-broker', ['--config', config]);
    await running.event('broker.listening');
    return running;
  };
  const broker = await startBroker();

  return {
    dir,
    issuer,
    resource,
    brokerPort,
    authority,
    authorityDir,
    broker,
    startBroker,
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
