/**
 * Deciding by topic with 1 to 1,000 scopes: `decide` against a loop over entries that were split
 * before, and, for publishing, against qlobber as Aedes sets it up.
 *
 * Each topic is a string that was never hashed or flattened before, as topics from a socket are.
 * qlobber answers an easier question: no QoS, no retain flag, no `$` rule, no check of the topic.
 *
 * Units   decisions per second.
 *
 * @module
 */
import { compileTopicRights, decide, parseTopicScope, type TopicScope } from '@latchkey/shared';
import { QlobberTrue } from 'qlobber';
import { type Comparison, type Contender, rateOf } from '../harness.ts';
import { linearRights } from './linear-rights.ts';

const SIZES = [1, 10, 100, 1000] as const;
const TOPICS_PER_BATCH = 2000;
const LEAVES = ['temperature', 'humidity', 'battery/voltage', 'valve/position'] as const;

type Decide = (topic: string) => boolean;

const deviceId = (i: number): string => `thermostat-${(i * 7919 + 13).toString(36)}`;
const pick = <Item>(items: readonly Item[], i: number): Item => items[i % items.length] as Item;

/** Asks about every topic, in strings made for this batch, and insists on the right answer. */
function rate(
  topics: readonly Buffer[],
  isAllowed: boolean,
  decideOne: Decide,
): () => Promise<number> {
  return rateOf(async () => {
    const texts = topics.map((topic) => topic.toString('utf8'));
    const begin = performance.now();
    let allowed = 0;
    for (const text of texts) if (decideOne(text)) allowed += 1;
    const ms = performance.now() - begin;
    if (allowed !== (isAllowed ? texts.length : 0)) throw new Error('a contender decides wrongly');
    return { operations: texts.length, ms };
  });
}

interface Case {
  readonly name: string;
  readonly isAllowed: boolean;
  readonly scopesOf: (device: string) => string;
  /** The i-th topic that is asked about, when there are scopes for that many devices. */
  readonly topic: (i: number, devices: number) => string;
  readonly contenders: (scopes: readonly TopicScope[]) => Readonly<Record<string, Decide>>;
}

/** One comparison: each contender with each number of scopes, divided by the loop with as many. */
function comparison({ name, isAllowed, scopesOf, topic, contenders }: Case): Comparison {
  const count = (size: number) => `${size.toLocaleString('en')} ${size === 1 ? 'scope' : 'scopes'}`;
  const all = SIZES.flatMap((size): Contender[] => {
    const devices = Array.from({ length: size }, (_, i) => deviceId(i));
    const scopes = devices.map((device) => parseTopicScope(scopesOf(device)));
    const topics = Array.from({ length: TOPICS_PER_BATCH }, (_, i) => Buffer.from(topic(i, size)));
    return Object.entries(contenders(scopes)).map(([contender, decideOne]) => ({
      name: `${contender}, ${count(size)}`,
      ...(contender === 'loop' ? {} : { base: `loop, ${count(size)}` }),
      sample: rate(topics, isAllowed, decideOne),
    }));
  });
  const target = {
    contender: `decide, ${count(1000)}`,
    base: `decide, ${count(10)}`,
    atLeast: 0.5,
  };
  return { name, unit: 'decisions/s', contenders: all, targets: [target] };
}

/** The devices in an order that jumps about, so that no cache line is the last one used. */
const jump = (i: number, devices: number): string => deviceId((i * 617) % devices);

export function publishComparisons(): readonly Comparison[] {
  const scopesOf = (device: string) => `pub;qos=1:devices/${device}/telemetry/#`;
  const contenders = (scopes: readonly TopicScope[]) => {
    const rights = compileTopicRights(scopes);
    const linear = linearRights(scopes);
    const qlobber = new QlobberTrue({
      separator: '/',
      wildcard_one: '+',
      wildcard_some: '#',
      match_empty_levels: true,
    });
    for (const { filter } of scopes) qlobber.add(filter);
    return {
      loop: (topic: string) => linear.allowsPublish(topic, 1, false),
      decide: (topic: string) =>
        decide(rights, { action: 'publish', topic, qos: 1, retain: false }).allowed,
      qlobber: (topic: string) => qlobber.test(topic),
    };
  };
  return [
    comparison({
      name: 'Publish, allowed',
      isAllowed: true,
      scopesOf,
      topic: (i, devices) => `devices/${jump(i, devices)}/telemetry/${pick(LEAVES, i)}`,
      contenders,
    }),
    comparison({
      name: 'Publish, denied (half: another device; half: another branch of an own one)',
      isAllowed: false,
      scopesOf,
      topic: (i, devices) =>
        i % 2 === 0
          ? `devices/${deviceId(5000 + i)}/telemetry/${pick(LEAVES, i)}`
          : `devices/${jump(i, devices)}/firmware/${pick(LEAVES, i)}`,
      contenders,
    }),
  ];
}

export function subscribeComparisons(): readonly Comparison[] {
  const scopesOf = (device: string) => `sub:devices/${device}/commands/+`;
  const contenders = (scopes: readonly TopicScope[]) => {
    const rights = compileTopicRights(scopes);
    const linear = linearRights(scopes);
    return {
      loop: (topic: string) => linear.allowsSubscribe(topic, 1),
      decide: (topic: string) => decide(rights, { action: 'subscribe', topic, qos: 1 }).allowed,
    };
  };
  return [
    comparison({
      name: 'Subscribe, allowed',
      isAllowed: true,
      scopesOf,
      topic: (i, devices) => `devices/${jump(i, devices)}/commands/${pick(['+', 'reboot'], i)}`,
      contenders,
    }),
    comparison({
      name: 'Subscribe, denied (too wide, or another device)',
      isAllowed: false,
      scopesOf,
      topic: (i, devices) =>
        pick(
          [
            'devices/+/commands/+',
            `devices/${deviceId(5000 + i)}/commands/+`,
            `devices/${jump(i, devices)}/commands/#`,
            `devices/${jump(i, devices)}/#`,
          ],
          i,
        ),
      contenders,
    }),
  ];
}
