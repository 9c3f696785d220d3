/**
 * Suite `broker`: what the plugin costs a broker, beside Aedes with hooks that say yes.
 *
 * All get the same bytes over the same sockets, the token in the password, ten topic scopes in it.
 * Mosquitto, in C, stands beside them with a password and an ACL file.
 *
 * @module
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type AedesBroker,
  type Broker,
  type Load,
  startAedes,
  startIssuer,
  startLoad,
  startMosquitto,
} from '../broker/brokers.ts';
import type { Comparison, Suite } from '../harness.ts';
import { CONNECTING_DEVICES, connectComparisons } from './broker-connects.ts';
import { publishComparisons } from './broker-publications.ts';
import { endComparisons, memoryComparisons } from './broker-sessions.ts';

const NAMES = {
  yes: 'Aedes, hooks that say yes',
  latchkey: 'Aedes with latchkey',
  logging: 'Aedes with latchkey, pino log at info',
  jose: 'Aedes with jose and a list of rules',
  mosquitto: 'Mosquitto, password_file and acl_file',
} as const;

export interface BrokerContenders {
  readonly load: Load;
  readonly issuer: string;
  readonly yes: AedesBroker;
  readonly latchkey: AedesBroker;
  readonly logging: AedesBroker;
  readonly jose: AedesBroker;
  /** `undefined` where it is not installed. */
  readonly mosquitto: Broker | undefined;
  readonly names: typeof NAMES;
  readonly pids: readonly number[];
}

/** Subscribers of the load have these numbers. */
const FIRST_SUBSCRIBER = 9_000_000;
const SUBSCRIBERS = 100;

async function prepare(): Promise<{
  readonly comparisons: readonly Comparison[];
  readonly close: () => Promise<void>;
}> {
  const dir = mkdtempSync(join(tmpdir(), 'latchkey-bench-'));
  const closings: (() => unknown)[] = [];
  const close = async (): Promise<void> => {
    for (const one of closings.toReversed()) await one();
    rmSync(dir, { recursive: true, force: true });
  };
  const add = async <Started extends { stop(): Promise<void> } | undefined>(
    starting: Promise<Started>,
  ): Promise<Started> => {
    const started = await starting;
    if (started !== undefined) closings.push(() => started.stop());
    return started;
  };
  try {
    const server = await startIssuer();
    closings.push(() => server.close());
    const { issuer } = server;
    const load = await add(startLoad());
    const { jwk } = await load.ask({ type: 'issuer', issuer });
    server.publish(jwk as object);
    const users = [
      ...Array.from({ length: CONNECTING_DEVICES }, (_, i) => i),
      ...Array.from({ length: SUBSCRIBERS }, (_, i) => FIRST_SUBSCRIBER + i),
    ];
    const yes = await add(startAedes('yes', issuer));
    const latchkey = await add(startAedes('latchkey', issuer));
    const logging = await add(startAedes('latchkey-logging', issuer));
    const jose = await add(startAedes('jose', issuer));
    const mosquitto = await add(startMosquitto(dir, users));
    if (mosquitto === undefined) process.stderr.write('broker: there is no Mosquitto here\n');
    const all = [load, yes, latchkey, logging, jose, ...(mosquitto ? [mosquitto] : [])];
    const contenders: BrokerContenders = {
      ...{ load, issuer, yes, latchkey, logging, jose, mosquitto },
      names: NAMES,
      pids: all.map(({ pid }) => pid),
    };
    return {
      comparisons: [
        ...connectComparisons(contenders),
        ...publishComparisons(contenders),
        ...memoryComparisons(contenders),
        ...endComparisons(contenders),
      ],
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

export const brokerSuite: Suite = {
  name: 'broker',
  about: 'connecting, publishing, memory and expiry, beside Aedes without authorization',
  libraries: ['aedes', 'jose', 'mqtt-packet'],
  prepare,
};
