/**
 * A broker on Aedes in a process of its own; arguments: which one, and the issuer.
 *
 * All listen with the same options and accept the same bytes; only who decides differs.
 *
 * @module
 */
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Duplex } from 'node:stream';
import { createLatchkey, type ThirdPartyIssuerOptions } from '@latchkey/broker-plugin';
import { systemClock } from '@latchkey/shared';
import { Aedes } from 'aedes';
import pino from 'pino';
import { answerWith } from '../asked-process.ts';
import { createMemoryRegistry } from './memory-registry.ts';
import {
  AUDIENCE,
  type BrokerAnswer,
  type BrokerQuestion,
  deviceId,
  MANY_ALIASES,
  MANY_PREFIX,
  manyIssuerOf,
} from './messages.ts';
import { decideByJose } from './naive-jose.ts';

const registry = createMemoryRegistry();

/** Keys are those of the issuer itself. */
const many = (issuer: string): ThirdPartyIssuerOptions => ({
  name: 'many',
  issuer: manyIssuerOf(issuer),
  jwksUri: `${issuer}/jwks`,
  algorithms: ['EdDSA'],
  clientIdPrefix: MANY_PREFIX,
  scopeAliases: MANY_ALIASES,
});

type Accept = (stream: Duplex) => void;

/** Puts the deciding part in; returns what takes a connection. */
const KINDS: Readonly<Record<string, (aedes: Aedes, issuer: string) => Accept>> = {
  yes: (aedes) => {
    aedes.authenticate = (_client, _username, _password, done) => done(null, true);
    aedes.authorizePublish = (_client, _packet, done) => done(null);
    aedes.authorizeSubscribe = (_client, subscription, done) => done(null, subscription);
    aedes.authorizeForward = (_client, packet) => packet;
    return aedes.handle;
  },
  latchkey: (aedes, issuer) => {
    const latchkey = createLatchkey({
      issuer,
      audience: AUDIENCE,
      thirdPartyIssuers: [many(issuer)],
    });
    latchkey.install(aedes);
    return (stream) => aedes.handle(latchkey.guard(stream));
  },
  'latchkey-logging': (aedes, issuer) => {
    const logger = pino({ level: 'info' }, pino.destination('/dev/null'));
    const latchkey = createLatchkey({ issuer, audience: AUDIENCE, logger });
    latchkey.install(aedes);
    return (stream) => aedes.handle(latchkey.guard(stream));
  },
  'latchkey-registry': (aedes, issuer) => {
    const latchkey = createLatchkey({ issuer, audience: AUDIENCE, clients: registry });
    latchkey.install(aedes);
    return (stream) => aedes.handle(latchkey.guard(stream));
  },
  jose: (aedes, issuer) => {
    decideByJose(aedes, issuer);
    return aedes.handle;
  },
};

const [kind = '', issuer = ''] = process.argv.slice(2);
const aedes = await Aedes.createBroker();
const accept = KINDS[kind]?.(aedes, issuer);
if (accept === undefined) throw new Error(`there is no broker ${kind}`);
aedes.on('clientError', () => undefined);
aedes.on('connectionError', () => undefined);

const delays = monitorEventLoopDelay({ resolution: 1 });
delays.enable();

const server = createServer({ noDelay: true }, (socket) => {
  socket.on('error', () => undefined);
  accept(socket);
});
server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 });
await once(server, 'listening');

async function collectGarbage(): Promise<void> {
  for (let i = 0; i < 4; i += 1) {
    global.gc?.();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function answer(question: BrokerQuestion): Promise<BrokerAnswer> {
  switch (question.type) {
    case 'port':
      return { port: (server.address() as AddressInfo).port };
    case 'memory': {
      await collectGarbage();
      const { rss, heapUsed, external } = process.memoryUsage();
      return { rssBytes: rss, heapBytes: heapUsed + external };
    }
    case 'cpu': {
      const { user, system } = process.cpuUsage();
      return { cpuMicroseconds: user + system };
    }
    case 'forget-delays':
      delays.reset();
      return {};
    case 'revoke': {
      const revokedAtMs: number[] = [];
      for (let i = 0; i < question.devices.count; i += 1) {
        await new Promise((resolve) => setTimeout(resolve, question.everyMs));
        revokedAtMs.push(systemClock.nowMs());
        registry.revoke(deviceId(question.devices.first + i));
      }
      return { revokedAtMs };
    }
    case 'longest-delay':
      return { longestDelayMs: delays.max / 1e6 };
  }
}

answerWith(answer);
