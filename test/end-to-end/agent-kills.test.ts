/** I10: an agent that is killed at random points loses nothing that it accepted; docs/faults.md. */
import { EventEmitter, once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { buildAgentBundle } from '../helpers/agent-bundle.ts';
import { startAgentStack } from '../helpers/agent-stack.ts';
import { seededRandom } from '../helpers/seeded-random.ts';

const KILLS = 200;
const TOPICS = 10;
/** Of each topic, for each kill. */
const MESSAGES = 5;
const SEED = 20_261_121;
/** Longer than from start to online: a kill within it may meet the agent while it opens or connects. */
const START_MS = 500;

test('SIGKILL at 200 random points of a stream of 10,000 accepted messages: each arrives, in order per topic', async () => {
  const random = seededRandom(SEED);
  const below = (limit: number) => Math.floor(random() * limit);
  const file = await buildAgentBundle();
  const stack = await startAgentStack();
  const device = await stack.enroll('t-42');
  const topics = Array.from({ length: TOPICS }, (_, i) => `devices/t-42/telemetry/${i}`);
  const accepted = new Map(topics.map((topic) => [topic, [] as string[]]));
  const arrived = new Map(topics.map((topic) => [topic, new Set<string>()]));
  const count = { accepted: 0, arrivals: 0 };
  const news = new EventEmitter().setMaxListeners(0);
  const until = async (isReached: () => boolean) => {
    while (!isReached()) await once(news, 'progress');
  };
  await stack.listen((topic, payload) => {
    arrived.get(topic)?.add(payload);
    count.arrivals += 1;
    news.emit('progress');
  });

  let agent = device.start({ file });
  /** Until programs can reach it, or it was killed before. The socket is there before the first line. */
  const up = () => agent.line((line) => line.includes('agent.state')).catch(() => undefined);
  let isUp = up();
  const killAndStart = async () => {
    const dead = agent.stop('SIGKILL');
    isUp = dead.then(() => {
      agent = device.start({ file });
      return up();
    });
    await dead;
  };

  const isAccepted = async (topic: string, payload: string): Promise<boolean> => {
    await isUp;
    return (await device.socket.publish({ topic, payload }))?.status === 202;
  };
  /** How many messages of each topic may be handed in by now. */
  let allowed = 0;
  const senders = topics.map(async (topic) => {
    for (let i = 0; i < KILLS * MESSAGES; ) {
      await until(() => i < allowed);
      // Without an answer nobody knows whether it was accepted: it is sent again under another name.
      const payload = `${i}-${below(2 ** 32)}`;
      if (await isAccepted(topic, payload)) {
        accepted.get(topic)?.push(payload);
        count.accepted += 1;
        i += 1;
        news.emit('progress');
      }
    }
  });

  /** A point in the life of an agent: so long after its start, or so many messages in or out. */
  const points = [
    (): Promise<unknown> => delay(below(START_MS)),
    () => {
      const goal = count.accepted + below(TOPICS * MESSAGES);
      return until(() => count.accepted >= goal || count.accepted === allowed * TOPICS);
    },
    () => {
      const goal = count.arrivals + below(TOPICS * MESSAGES);
      return Promise.race([until(() => count.arrivals >= goal), delay(2 * START_MS)]);
    },
  ];
  for (let kills = 0; kills < KILLS; kills += 1) {
    allowed += MESSAGES;
    news.emit('progress');
    await points[below(points.length)]?.();
    await killAndStart();
  }
  await Promise.all(senders);
  const last = 'last';
  for (const topic of topics) while (!(await isAccepted(topic, last)));
  await until(() => topics.every((topic) => arrived.get(topic)?.has(last)));

  for (const topic of topics) {
    const wanted = new Set(accepted.get(topic));
    expect(wanted.size).toBe(KILLS * MESSAGES);
    const firstOfEach = [...(arrived.get(topic) ?? [])].filter((payload) => wanted.has(payload));
    expect(firstOfEach).toEqual([...wanted]);
  }
}, 300_000);
