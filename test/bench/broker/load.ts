/**
 * The process that makes load: signs tokens first, then connects and publishes, so that the broker is
 * what is measured.
 *
 * @module
 */
import {
  createKeySigner,
  generateKey,
  newJti,
  parseClientId,
  parseIssuer,
  parseResourceId,
  signAccessToken,
  systemClock,
} from '@latchkey/shared';
import { answerWith } from '../asked-process.ts';
import {
  AUDIENCE,
  type ConnectOrder,
  type Devices,
  deviceId,
  type HoldOrder,
  type LoadAnswer,
  type LoadQuestion,
  MANY_ALIASES,
  MANY_PREFIX,
  manyIssuerOf,
  PASSWORD,
  type PublishOrder,
  scopesOf,
  type Target,
} from './messages.ts';
import { publish } from './publish-load.ts';
import { type Connection, leave, open } from './wire.ts';

const TTL_SECONDS = 3600;
/** Subscribers have numbers of their own. */
const FIRST_SUBSCRIBER = 9_000_000;

const key = generateKey();
const signer = createKeySigner(key);
let issuer = parseIssuer('http://localhost');
const lastTokens = new Map<number, string>();
/** By device. */
let held = new Map<number, Connection>();
let endedAtMs = new Map<number, number>();

async function tokenOf(
  index: number,
  { hasMany = false, isSubscriber = false, expiresAt = systemClock.now() + TTL_SECONDS } = {},
): Promise<string> {
  const id = deviceId(index);
  const scopes = hasMany ? Object.keys(MANY_ALIASES) : scopesOf(id, isSubscriber);
  return signAccessToken(signer, {
    issuer: hasMany ? parseIssuer(manyIssuerOf(issuer)) : issuer,
    clientId: parseClientId(id),
    audience: parseResourceId(AUDIENCE),
    issuedAt: systemClock.now(),
    expiresAt,
    jti: newJti(),
    scope: scopes.join(' '),
  });
}

const indexesOf = ({ first, count }: Devices): readonly number[] =>
  Array.from({ length: count }, (_, i) => first + i);

async function passwordsOf(
  target: Target,
  indexes: readonly number[],
  token: (index: number) => Promise<string>,
): Promise<ReadonlyMap<number, string>> {
  const passwords = new Map<number, string>();
  for (const index of indexes) {
    passwords.set(index, target.credential === 'password' ? PASSWORD : await token(index));
  }
  return passwords;
}

/** Opens all, so many at once, and keeps them open. */
async function openAll(
  target: Target,
  passwords: ReadonlyMap<number, string>,
  atOnce: number,
  idOf: (index: number) => string = deviceId,
): Promise<ReadonlyMap<number, Connection>> {
  const waiting = [...passwords].values();
  const connections = new Map<number, Connection>();
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (const [index, password] of waiting) {
        connections.set(index, await open(target, idOf(index), password));
      }
    }),
  );
  return connections;
}

async function connect({ target, devices, tokens, atOnce }: ConnectOrder): Promise<LoadAnswer> {
  const token = async (index: number): Promise<string> => {
    const known = tokens === 'known' ? lastTokens.get(index) : undefined;
    const text = known ?? (await tokenOf(index));
    if (tokens === 'known') lastTokens.set(index, text);
    return text;
  };
  const passwords = await passwordsOf(target, indexesOf(devices), token);
  const begin = performance.now();
  const connections = await openAll(target, passwords, atOnce);
  const ms = performance.now() - begin;
  await leave([...connections.values()]);
  return { operations: devices.count, ms };
}

async function hold({ target, devices, ttlSeconds }: HoldOrder): Promise<LoadAnswer> {
  const expiresAt = systemClock.now() + ttlSeconds;
  const passwords = await passwordsOf(target, indexesOf(devices), (index) =>
    tokenOf(index, { expiresAt }),
  );
  const begin = performance.now();
  const connections = await openAll(target, passwords, 50);
  const ms = performance.now() - begin;
  for (const [index, connection] of connections) {
    void connection.closed.then(() => endedAtMs.set(index, systemClock.nowMs()));
    held.set(index, connection);
  }
  return { operations: connections.size, ms };
}

async function waitForEnd(devices?: Devices): Promise<LoadAnswer> {
  const indexes = devices === undefined ? [...held.keys()] : indexesOf(devices);
  await Promise.all(indexes.map((index) => held.get(index)?.closed));
  return { operations: indexes.length, ms: 0, endedAtMs };
}

async function release(): Promise<LoadAnswer> {
  const operations = held.size;
  await leave([...held.values()].filter(({ socket }) => !socket.destroyed));
  [held, endedAtMs] = [new Map(), new Map()];
  return { operations, ms: 0 };
}

async function publishWith(order: PublishOrder): Promise<LoadAnswer> {
  const { target, hasMany } = order;
  const idOf = (index: number) => (hasMany ? MANY_PREFIX : '') + deviceId(index);
  const publisherIndexes = indexesOf({ first: 0, count: order.publishers });
  const subscriberIndexes = indexesOf({ first: FIRST_SUBSCRIBER, count: order.subscribers });
  const openFor = async (indexes: readonly number[], isSubscriber: boolean) => {
    const token = (index: number) => tokenOf(index, { hasMany, isSubscriber });
    const passwords = await passwordsOf(target, indexes, token);
    return openAll(target, passwords, 1, idOf);
  };
  const publishers = [...(await openFor(publisherIndexes, false))].map(([index, connection]) => ({
    id: idOf(index),
    connection,
  }));
  const subscribers = [...(await openFor(subscriberIndexes, true)).values()];
  const outcome = await publish(order, publishers, subscribers);
  await leave([...publishers.map(({ connection }) => connection), ...subscribers]);
  return outcome;
}

async function answer(question: LoadQuestion): Promise<LoadAnswer> {
  switch (question.type) {
    case 'issuer':
      issuer = parseIssuer(question.issuer);
      return { operations: 0, ms: 0, jwk: { ...key.publicKey.jwk, kid: key.publicKey.kid } };
    case 'connect':
      return connect(question);
    case 'hold':
      return hold(question);
    case 'wait-for-end':
      return waitForEnd(question.devices);
    case 'release':
      return release();
    case 'publish':
      return publishWith(question);
  }
}

answerWith(answer);
