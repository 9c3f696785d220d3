/**
 * An authority and a broker as people run them, each a process, with tokens of a minute so that renewals
 * come soon.
 *
 * @module
 */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { initDataDir, loadConfig, openDataDir } from '@latchkey/authority';
import {
  hashEnrollmentCode,
  type Issuer,
  newEnrollmentCode,
  parseIssuer,
  parsePermissionName,
  parseResourceId,
  parseRoleName,
  type ResourceId,
  systemClock,
} from '@latchkey/shared';
import { freePort, LATCHKEY, startLogged } from '../authority/servers.ts';

const BROKER = fileURLToPath(
  new URL('../../../../broker-plugin/bin/latchkey-broker.js', import.meta.url),
);
/** The shortest that an authority gives. */
export const TOKEN_TTL_SECONDS = 60;

export interface FleetStack {
  readonly issuer: Issuer;
  readonly resource: ResourceId;
  /** Enrolls any number of devices. */
  readonly code: string;
  killBroker(): Promise<void>;
  startBroker(): Promise<void>;
  stop(): Promise<void>;
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const closed = once(child, 'close');
  child.kill(signal);
  await closed;
}

export async function startFleetStack(dir: string, devices: number): Promise<FleetStack> {
  const [authorityPort, brokerPort] = [await freePort(), await freePort()];
  const issuer = parseIssuer(`http://127.0.0.1:${authorityPort}`);
  const resource = parseResourceId(`mqtt://127.0.0.1:${brokerPort}`);
  const dataDir = join(dir, 'authority');
  const clock = systemClock;
  await initDataDir({ dataDir, issuer, clock });
  const { registry } = await openDataDir({ dataDir, config: loadConfig(dataDir), clock });
  const tokenTtlSeconds = TOKEN_TTL_SECONDS;
  await registry.createResource({ identifier: resource, kind: 'mqtt', tokenTtlSeconds });
  const name = parsePermissionName('telemetry');
  const scopes = ['pub:devices/{client_id}/telemetry/#'];
  await registry.createPermission({ name, resource, scopes });
  const role = parseRoleName('thermostat');
  await registry.createRole({ name: role, permissions: [name] });
  const code = newEnrollmentCode();
  await registry.createEnrollment({
    codeHash: hashEnrollmentCode(code),
    target: { idPattern: 't-*' },
    ...{ roles: [role], labels: new Map(), uses: devices, expiresAt: clock.now() + 3600 },
  });
  await registry.close();

  const authority = await startLogged(
    [LATCHKEY, 'serve', '--data-dir', dataDir],
    join(dir, 'authority.log'),
    (log) => log.includes('authority.listening'),
  );
  const config = join(dir, 'broker.toml');
  writeFileSync(
    config,
    `issuer = "${issuer}"\naudience = "${resource}"\n[[listen]]\ntype = "tcp"\nhost = "127.0.0.1"\nport = ${brokerPort}\n`,
  );
  let broker: ChildProcess;
  const startBroker = async (): Promise<void> => {
    broker = await startLogged([BROKER, '--config', config], join(dir, 'broker.log'), (log) =>
      log.includes('broker.listening'),
    );
  };
  await startBroker();
  return {
    ...{ issuer, resource, code, startBroker },
    killBroker: () => end(broker, 'SIGKILL'),
    stop: async () => {
      await end(broker, 'SIGKILL');
      await end(authority, 'SIGTERM');
    },
  };
}
