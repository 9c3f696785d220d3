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
let held: Connection[] = [];
let endedAtMs: number[] = [];

async function tokenOf(
  index: number,
  { entries = 10, isSubscriber = false, expiresAt = systemClock.now() + TTL_SECONDS } = {},
): Promise<string> {
  const id = deviceId(index);
  return signAccessToken(signer, {
    issuer,
    clientId: parseClientId(id),
    audience: parseResourceId(AUDIENCE),
    issuedAt: systemClock.now(),
    expiresAt,
    jti: newJti(),
    scope: scopesOf(id, entries, isSubscriber).join(' '),
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
): Promise<Connection[]> {
  const waiting = [...passwords].values();
  const connections: Connection[] = [];
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (const [index, password] of waiting) {
        connections.push(await open(target, deviceId(index), password));
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
  await leave(connections);
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
  for (const { closed } of connections) {
    void closed.then(() => endedAtMs.push(systemClock.nowMs()));
  }
  held.push(...connections);
  return { operations: connections.length, ms };
}

async function waitForEnd(): Promise<LoadAnswer> {
  await Promise.all(held.map(({ closed }) => closed));
  const answer = { operations: held.length, ms: 0, endedAtMs };
  [held, endedAtMs] = [[], []];
  return answer;
}

async function publishWith(order: PublishOrder): Promise<LoadAnswer> {
  const { target, entries } = order;
  const publisherIndexes = indexesOf({ first: 0, count: order.publishers });
  const subscriberIndexes = indexesOf({ first: FIRST_SUBSCRIBER, count: order.subscribers });
  const openFor = async (indexes: readonly number[], isSubscriber: boolean) => {
    const token = (index: number) => tokenOf(index, { entries, isSubscriber });
    const passwords = await passwordsOf(target, indexes, token);
    return openAll(target, passwords, 1);
  };
  const publishers = (await openFor(publisherIndexes, false)).map((connection, i) => ({
    id: deviceId(i),
    connection,
  }));
  const subscribers = await openFor(subscriberIndexes, true);
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
      return waitForEnd();
    case 'release':
      await leave(held);
      return waitForEnd();
    case 'publish':
      return publishWith(question);
  }
}

answerWith(answer);
