/** Composition with hooks of the host: STANDARDS 5.2 and 6, groups 18 and 31. */
import { createLatchkey } from '@latchkey/broker-plugin';
import { Aedes } from 'aedes';
import { expect, onTestFinished, test } from 'vitest';
import { startGuardedBroker } from '../helpers/guarded-broker.ts';
import { BROKER } from '../helpers/issuer-server.ts';
import { connectPacket, publishPacket, subscribePacket } from '../helpers/mqtt-wire.ts';

const ours = (topics: readonly string[]) => topics.filter((topic) => !topic.startsWith('$'));

/** One way to say no, or to fail, in each hook. */
const ways: readonly { name: string; hook: (...args: never[]) => unknown }[] = [
  {
    name: 'refuses',
    hook: (...args) =>
      (args.at(-1) as unknown as (e: Error, ok: unknown) => void)(new Error('no'), false),
  },
  {
    name: 'throws',
    hook: () => {
      throw new Error('bug of the host');
    },
  },
  {
    name: 'throws something that is no error',
    hook: () => {
      throw 'bug';
    },
  },
  {
    name: 'rejects',
    hook: async () => {
      throw new Error('bug of the host');
    },
  },
  {
    name: 'refuses and then agrees',
    hook: (...args) => {
      const answer = args.at(-1) as unknown as (e: Error | null, value?: unknown) => void;
      answer(new Error('no'), false);
      answer(null, true);
    },
  },
];

const when = [
  { order: 'before install', isBefore: true },
  { order: 'after install', isBefore: false },
] as const;

async function start(hooks: Partial<Record<string, unknown>>, isBefore: boolean) {
  const broker = await startGuardedBroker(
    isBefore ? { before: (aedes) => void Object.assign(aedes, hooks) } : {},
  );
  if (!isBefore) Object.assign(broker.aedes, hooks);
  return broker;
}

const rows = ways.flatMap(({ name, hook }) => when.map((one) => ({ name, hook, ...one })));

test.each(rows)(
  'I2: preConnect of the host, set $order, $name: closed',
  async ({ hook, isBefore }) => {
    const broker = await start({ preConnect: hook }, isBefore);
    const client = await broker.wire();
    client.send(connectPacket(await broker.issuer.token()));
    await client.closed;
    expect(client.packets).toEqual([]);
  },
);

test.each(rows)(
  'I2: authenticate of the host, set $order, $name: one CONNACK 5',
  async ({ hook, isBefore }) => {
    const broker = await start({ authenticate: hook }, isBefore);
    const client = await broker.wire();
    client.send(connectPacket(await broker.issuer.token()));
    await client.closed;
    expect(client.packets).toMatchObject([{ cmd: 'connack', returnCode: 5 }]);
  },
);

test.each(rows)(
  'I2: authorizePublish of the host, set $order, $name: closed',
  async ({ hook, isBefore }) => {
    const broker = await start({ authorizePublish: hook }, isBefore);
    const heard = await broker.heard();
    const client = await broker.connect();
    client.send(publishPacket('devices/t-42/x', 1));
    await client.closed;
    expect(ours(heard)).toEqual([]);
  },
);

test.each(rows)(
  'I2: authorizeSubscribe of the host, set $order, $name: SUBACK 128',
  async ({ hook, isBefore }) => {
    const broker = await start({ authorizeSubscribe: hook }, isBefore);
    const client = await broker.connect();
    client.send(subscribePacket({ 'devices/t-42/x': 1 }));
    expect(await client.next('suback')).toMatchObject({ granted: [128] });
  },
);

test.each(
  [
    { name: 'says null', hook: () => null },
    {
      name: 'throws',
      hook: () => {
        throw new Error('bug of the host');
      },
    },
    { name: 'says true', hook: () => true },
    {
      name: 'puts a foreign topic in',
      hook: (_client: unknown, packet: object) => ({ ...packet, topic: 'devices/t-43/x' }),
    },
  ].flatMap((way) => when.map((one) => ({ ...way, ...one }))),
)(
  'I4: authorizeForward of the host, set $order, $name: nothing delivered',
  async ({ hook, isBefore }) => {
    let isRefusing = true;
    const authorizeForward = (client: unknown, packet: object) =>
      isRefusing ? hook(client, packet) : packet;
    const broker = await start({ authorizeForward }, isBefore);
    const client = await broker.connect();
    client.send(
      subscribePacket({ 'devices/t-42/#': 0 }),
      publishPacket('devices/t-42/x', 2, { messageId: 1 }),
    );
    await client.next('pubrec');
    isRefusing = false;
    client.send(publishPacket('devices/t-42/marker', 0));
    expect(await client.next('publish')).toMatchObject({ topic: 'devices/t-42/marker' });
  },
);

const allowing = {
  preConnect: (_client: unknown, _packet: unknown, callback: (e: null, ok: boolean) => void) =>
    callback(null, true),
  authenticate: (
    _client: unknown,
    _name: unknown,
    _password: unknown,
    callback: (e: null, ok: boolean) => void,
  ) => callback(null, true),
  authorizePublish: (_client: unknown, _packet: unknown, callback: (e: null) => void) =>
    callback(null),
  authorizeSubscribe: (_client: unknown, one: unknown, callback: (e: null, one: unknown) => void) =>
    callback(null, one),
  authorizeForward: (_client: unknown, packet: unknown) => packet,
};

test.each(when)(
  'deny wins: a host that allows everything, set $order, opens nothing',
  async ({ isBefore }) => {
    const broker = await start(allowing, isBefore);
    const heard = await broker.heard();
    const stranger = await broker.wire();
    stranger.send(connectPacket('forged'));
    expect(await stranger.next('connack')).toMatchObject({ returnCode: 4 });
    const client = await broker.connect();
    client.send(subscribePacket({ '#': 1 }));
    expect(await client.next('suback')).toMatchObject({ granted: [128] });
    client.send(publishPacket('devices/t-43/x'));
    await client.closed;
    expect(ours(heard)).toEqual([]);
  },
);

test('deny wins: a plugin that wraps our hooks after install is called once, and so are we', async () => {
  const broker = await startGuardedBroker();
  const { aedes } = broker;
  const { authenticate, authorizePublish, preConnect } = aedes;
  const calls: string[] = [];
  aedes.preConnect = (...args) => {
    calls.push('preConnect');
    preConnect.apply(aedes, args);
  };
  aedes.authenticate = (...args) => {
    calls.push('authenticate');
    authenticate.apply(aedes, args);
  };
  aedes.authorizePublish = (...args) => {
    calls.push('authorizePublish');
    authorizePublish.apply(aedes, args);
  };
  const client = await broker.connect();
  expect(client.connack.returnCode).toBe(0);
  client.send(publishPacket('devices/t-42/x', 1));
  await client.next('puback');
  expect(calls).toEqual(['preConnect', 'authenticate', 'authorizePublish']);
  client.send(publishPacket('devices/t-43/x', 1));
  await client.closed;
});

test('double callbacks: a host that agrees twice gets one CONNACK, one message and one SUBACK', async () => {
  const twice = (...args: unknown[]) => {
    const answer = args.at(-1) as (error: null, value?: unknown) => void;
    // The subscription is handed back, everything else is answered with yes.
    const value =
      typeof (args[1] as { topic?: unknown } | undefined)?.topic === 'string' ? args[1] : true;
    answer(null, value);
    answer(null, value);
  };
  const broker = await start(
    { preConnect: twice, authenticate: twice, authorizePublish: twice, authorizeSubscribe: twice },
    true,
  );
  const heard = await broker.heard();
  const client = await broker.connect();
  client.send(subscribePacket({ 'devices/t-42/y': 1 }), publishPacket('devices/t-42/x', 2));
  await client.next('pubrec');
  client.send({ cmd: 'pingreq' });
  await client.next('pingresp');
  expect(client.packets.map(({ cmd }) => cmd).sort()).toEqual([
    'connack',
    'pingresp',
    'pubrec',
    'suback',
  ]);
  expect(ours(heard)).toEqual(['devices/t-42/x']);
});

test('group 31: the $SYS protection of the broker is kept: its own hook is still asked', async () => {
  const asked: string[] = [];
  const broker = await startGuardedBroker({
    before: (aedes) => {
      const builtIn = aedes.authorizePublish;
      aedes.authorizePublish = (client, packet, callback) => {
        asked.push(packet.topic);
        builtIn.call(aedes, client, packet, callback);
      };
    },
  });
  const client = await broker.connect();
  client.send(publishPacket('devices/t-42/x', 1));
  await client.next('puback');
  expect(asked).toEqual(['devices/t-42/x']);
});

test('I2: a host that writes another topic into a publication does not widen it', async () => {
  const broker = await startGuardedBroker({
    before: (aedes) => {
      aedes.authorizePublish = (_client, packet, callback) => {
        packet.topic = 'devices/t-43/x';
        callback(null);
      };
    },
  });
  const heard = await broker.heard();
  const client = await broker.connect();
  client.send(publishPacket('devices/t-42/x'));
  await client.closed;
  expect(ours(heard)).toEqual([]);
});

test('trap 15: a host that rewrites a filter does not widen it', async () => {
  const broker = await startGuardedBroker({
    before: (aedes) => {
      aedes.authorizeSubscribe = (_client, one, callback) => callback(null, { ...one, topic: '#' });
    },
  });
  const client = await broker.connect();
  client.send(subscribePacket({ 'devices/t-42/x': 0 }));
  expect(await client.next('suback')).toMatchObject({ granted: [128] });
});

test('trap 14, I5: a host that takes its time over a publication does not carry it past exp', async () => {
  let decide: ((error?: Error | null) => void) | undefined;
  let asked: (() => void) | undefined;
  const isAsked = new Promise<void>((resolve) => {
    asked = resolve;
  });
  const broker = await startGuardedBroker({
    before: (aedes) => {
      aedes.authorizePublish = (_client, _packet, callback) => {
        decide = callback;
        asked?.();
      };
    },
  });
  const heard = await broker.heard();
  const client = await broker.connect({ ttlSeconds: 60 });
  client.send(publishPacket('devices/t-42/x'));
  await isAsked;
  await broker.clock.advance(60_000);
  decide?.(null);
  await client.closed;
  expect(ours(heard)).toEqual([]);
});

test('the return code of a host that refuses is kept', async () => {
  const broker = await startGuardedBroker({
    before: (aedes) => {
      aedes.authenticate = (_client, _name, _password, callback) =>
        callback(Object.assign(new Error('full'), { returnCode: 3 }), false);
    },
  });
  const { connack } = await broker.connect();
  expect(connack.returnCode).toBe(3);
});

test('I2: an authenticate of the host that never answers is refused after the timeout', async () => {
  let asked: (() => void) | undefined;
  const isAsked = new Promise<void>((resolve) => {
    asked = resolve;
  });
  const broker = await startGuardedBroker({
    before: (aedes) => {
      aedes.authenticate = () => asked?.();
    },
  });
  const client = await broker.wire();
  client.send(connectPacket(await broker.issuer.token()));
  await isAsked;
  await broker.clock.advance(5000);
  expect(await client.next('connack')).toMatchObject({ returnCode: 3 });
});

test('install attaches an error listener, so that an error of the broker ends nobody', async () => {
  const broker = await startGuardedBroker();
  broker.aedes.emit('error', new Error('persistence'));
  expect(broker.log.all('broker.error')).toMatchObject([{ detail: 'persistence' }]);
});

const latchkey = () => {
  const made = createLatchkey({ issuer: 'https://id.example', audience: BROKER });
  onTestFinished(() => made.close());
  return made;
};

test('a second install on one broker is refused, by another Latchkey too', async () => {
  const broker = await startGuardedBroker();
  expect(() => broker.latchkey.install(broker.aedes)).toThrow('installed already');
  expect(() => latchkey().install(broker.aedes)).toThrow('installed already');
});

test.each(['maxTopicLevels', 'preConnect', 'authorizeForward', 'handle'])(
  'a broker of an Aedes without %s is refused',
  async (name) => {
    const aedes = await Aedes.createBroker();
    onTestFinished(() => aedes.close());
    const other = Object.create(aedes, { [name]: { value: undefined } }) as Aedes;
    expect(() => latchkey().install(other)).toThrow(
      new TypeError(`install needs a broker of Aedes 1.2 or 2: this one has no ${name}`),
    );
  },
);

test('something that is no broker, or has a persistence that is none, is refused', async () => {
  const aedes = await Aedes.createBroker();
  onTestFinished(() => aedes.close());
  const other = Object.create(aedes, { persistence: { value: {} } }) as Aedes;
  expect(() => latchkey().install(other)).toThrow('this one has no subscriptionsByClient');
  expect(() => latchkey().install({} as Aedes)).toThrow(TypeError);
});

test('a broker that was not started is refused', () => {
  expect(() => latchkey().install(new Aedes())).toThrow('createBroker');
});

test.each([
  { name: 'an issuer on plain http', options: { issuer: 'http://id.example' } },
  { name: 'an audience that is no URI', options: { audience: 'broker' } },
  { name: 'a limit of 0', options: { limits: { packetBytes: 0 } } },
  { name: 'a limit that is not whole', options: { limits: { connectTimeoutMs: 1.5 } } },
  { name: 'a token elsewhere', options: { tokenIn: 'will' as never } },
  { name: 'instances of devices', options: { serviceInstances: 'devices' as never } },
  { name: 'a grace below 0', options: { graceSeconds: -1 } },
  { name: 'a grace of 301 s', options: { graceSeconds: 301 } },
  { name: 'a grace that is not whole', options: { graceSeconds: 0.5 } },
  { name: 'a rate of 0', options: { protection: { connectionsPerSecond: 0 } } },
  { name: 'a ban of over a day', options: { protection: { longestBanSeconds: 86_401 } } },
  { name: 'a CONNECT beyond 64 KiB', options: { limits: { connectBytes: 65_537 } } },
])('createLatchkey refuses $name', ({ options }) => {
  expect(() =>
    createLatchkey({ issuer: 'https://id.example', audience: BROKER, ...options }),
  ).toThrow();
});
