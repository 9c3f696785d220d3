/**
 * Connecting to a broker, with tokens that it never saw and with tokens that it knows.
 *
 * Each sample: every device connects, so many at once; when all are in, all leave. CPU time includes the
 * leaving.
 *
 * Units   connects per second; microseconds of CPU time per connect, all threads.
 *
 * @module
 */
import { generateKeyPairSync, randomBytes, sign, verify } from 'node:crypto';
import type { AedesBroker, Broker, Load } from '../broker/brokers.ts';
import { type Comparison, type Contender, MIN_SAMPLE_MS, rateOf } from '../harness.ts';
import type { BrokerContenders } from './broker.ts';

export const CONNECTING_DEVICES = 1000;
const AT_ONCE = 50;

const connect = (load: Load, { target }: Broker, tokens: 'fresh' | 'known') =>
  load.ask({
    type: 'connect',
    target,
    tokens,
    devices: { first: 0, count: CONNECTING_DEVICES },
    atOnce: AT_ONCE,
  });

const rate = (load: Load, broker: Broker, tokens: 'fresh' | 'known') =>
  rateOf(() => connect(load, broker, tokens));

async function cpuOf(broker: AedesBroker): Promise<number> {
  return (await broker.ask({ type: 'cpu' })).cpuMicroseconds as number;
}

async function cpuPerConnect(load: Load, broker: AedesBroker): Promise<number> {
  const before = await cpuOf(broker);
  const { operations } = await connect(load, broker, 'fresh');
  return ((await cpuOf(broker)) - before) / operations;
}

/** CPU time of one check, synchronous, with a key that is kept: the least that a signature costs. */
function createSignatureCheck(): () => Promise<number> {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const data = randomBytes(700); // about what a token of ten scopes signs
  const signature = sign(null, data, privateKey);
  return async () => {
    const cpu = process.cpuUsage();
    const begin = performance.now();
    let checks = 0;
    while (performance.now() - begin < MIN_SAMPLE_MS) {
      for (let i = 0; i < 50; i += 1) {
        if (!verify(null, data, publicKey, signature)) throw new Error('a good signature is bad');
      }
      checks += 50;
    }
    const { user, system } = process.cpuUsage(cpu);
    return (user + system) / checks;
  };
}

export function connectComparisons(brokers: BrokerContenders): readonly Comparison[] {
  const { load, yes, latchkey, logging, jose, mosquitto, names, pids } = brokers;
  const contenders = (tokens: 'fresh' | 'known'): readonly Contender[] => [
    { name: names.yes, sample: rate(load, yes, tokens) },
    { name: names.latchkey, base: names.yes, sample: rate(load, latchkey, tokens) },
    { name: names.logging, base: names.yes, sample: rate(load, logging, tokens) },
    { name: names.jose, base: names.yes, sample: rate(load, jose, tokens) },
    ...(mosquitto === undefined
      ? []
      : [{ name: names.mosquitto, base: names.yes, sample: rate(load, mosquitto, tokens) }]),
  ];
  const many = `${CONNECTING_DEVICES} devices, ${AT_ONCE} at once`;
  const check = 'one signature check';
  return [
    {
      name: `Connecting with fresh tokens, ${many}`,
      unit: 'connects/s',
      contenders: contenders('fresh'),
      targets: [{ contender: names.latchkey, base: names.yes, atLeast: 0.7 }],
      pids,
    },
    {
      name: `Connecting with known tokens, ${many}`,
      unit: 'connects/s',
      contenders: contenders('known'),
      targets: [{ contender: names.latchkey, base: names.yes, atLeast: 0.95 }],
      pids,
    },
    {
      name: 'CPU of the broker for a connect with a fresh token and its end (less is better)',
      unit: 'µs',
      contenders: [
        { name: names.yes, sample: () => cpuPerConnect(load, yes) },
        { name: names.latchkey, base: names.yes, sample: () => cpuPerConnect(load, latchkey) },
        { name: names.jose, base: names.yes, sample: () => cpuPerConnect(load, jose) },
        { name: check, base: names.yes, sample: createSignatureCheck() },
      ],
      targets: [
        {
          contender: `${names.latchkey}, beyond the base`,
          base: 'signature checks',
          atMost: 1.25,
          derive: (of) => (of(names.latchkey) - of(names.yes)) / of(check),
        },
      ],
      pids,
    },
  ];
}
