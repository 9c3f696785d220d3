/**
 * Messages through a broker: one to one, fifty to one, one to a hundred; QoS 0 and 1.
 *
 * Units   deliveries per second.
 *
 * @module
 */
import type { Broker, Load } from '../broker/brokers.ts';
import { MANY, type PublishOrder } from '../broker/messages.ts';
import { type Comparison, rateOf } from '../harness.ts';
import type { BrokerContenders } from './broker.ts';

const FEW = 10;

const SHAPES = [
  { publishers: 1, subscribers: 1 },
  { publishers: 50, subscribers: 1 },
  { publishers: 1, subscribers: 100 },
] as const;

type Shape = Pick<PublishOrder, 'publishers' | 'subscribers' | 'qos'>;

export function publishComparisons(brokers: BrokerContenders): readonly Comparison[] {
  const { load, yes, latchkey, jose, mosquitto, names, pids } = brokers;
  const rate = (generator: Load, { target }: Broker, shape: Shape, hasMany: boolean) =>
    rateOf(() => generator.ask({ type: 'publish', target, hasMany, ...shape }));

  const comparison = (shape: Shape): Comparison => {
    const sample = (broker: Broker, hasMany = false) => rate(load, broker, shape, hasMany);
    const few = `${names.latchkey}, ${FEW} entries`;
    const many = `${names.latchkey}, ${MANY.toLocaleString('en')} entries`;
    const base = names.yes;
    return {
      name: `Publishing ${shape.publishers} → ${shape.subscribers}, QoS ${shape.qos}, 100 bytes`,
      unit: 'deliveries/s',
      contenders: [
        { name: base, sample: sample(yes) },
        { name: few, base, sample: sample(latchkey) },
        { name: many, base, sample: sample(latchkey, true) },
        { name: `${names.jose}, ${FEW} entries`, base, sample: sample(jose) },
        {
          name: `${names.jose}, ${MANY.toLocaleString('en')} entries`,
          base,
          sample: sample(jose, true),
        },
        ...(mosquitto === undefined
          ? []
          : [{ name: `${names.mosquitto}, ${FEW} patterns`, base, sample: sample(mosquitto) }]),
      ],
      targets: [
        { contender: few, base, atLeast: 0.95 },
        { contender: many, base, atLeast: 0.93 },
      ],
      pids,
      warmUps: 1,
    };
  };
  return SHAPES.flatMap((shape) => ([0, 1] as const).map((qos) => comparison({ ...shape, qos })));
}
