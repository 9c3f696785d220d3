/** Stored sessions of `latchkey-broker` in memory, in a directory and in Redis: one contract. */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { subscribePacket } from '../helpers/mqtt-wire.ts';
import { runCommand, temporaryDir } from '../helpers/processes.ts';
import { hasRedis, REDIS_PASSWORD, startRedis } from '../helpers/redis-server.ts';
import { startStoringBroker, storedSessionContract } from '../helpers/stored-sessions.ts';

describe('memory', () => {
  storedSessionContract(async () => '[persistence]\ntype = "memory"\n', { isDurable: false });
});

describe('level', () => {
  const section = async () =>
    `[persistence]\ntype = "level"\ndirectory = "${join(temporaryDir(), 'sessions')}"\n`;
  storedSessionContract(section, { isDurable: true });
});

describe.skipIf(!hasRedis)('redis', () => {
  const receiver = 'receiver';
  async function setup() {
    const { port, passwordFile } = await startRedis();
    const broker = await startStoringBroker(
      `[persistence]\ntype = "redis"\nport = ${port}\npassword_file = "${passwordFile}"\n`,
    );
    const connect = (id: string, clean: boolean) =>
      broker.connect({ clientId: id, scope: 'sub:#' }, { clean });
    const subscribe = async (id: string) => {
      const client = await connect(id, false);
      client.send(subscribePacket({ 'm/#': 2 }));
      await client.next('suback');
      return client;
    };
    const messages = async (): Promise<number> => {
      const login = ['-p', String(port), '-a', REDIS_PASSWORD, '--no-auth-warning'];
      const { stdout } = await runCommand('redis-cli', [...login, 'keys', '*']);
      return stdout.split('\n').filter((key) => /^(packet|outgoing):/.test(key)).length;
    };
    return { broker, connect, subscribe, messages };
  }

  test.each([
    { name: 'a clean session', isClean: true },
    { name: 'the end of its last filter', isClean: false },
  ])('I11: after $name no message stays in Redis', async ({ isClean }) => {
    const { broker, connect, subscribe, messages } = await setup();
    const first = await subscribe(receiver);
    await broker.publish('m/live'); // half acknowledged
    const { messageId = 0 } = await first.next('publish');
    first.send({ cmd: 'pubrec', messageId });
    await first.next('pubrel');
    await broker.drop(first);
    await broker.publish('m/1', 'm/2');
    expect(await messages()).toBeGreaterThan(0);
    const again = await connect(receiver, isClean);
    if (!isClean) {
      again.send({ cmd: 'unsubscribe', messageId: 1, unsubscriptions: ['m/#'] });
      await again.next('unsuback');
    }
    expect(await messages()).toBe(0);
  });

  test('what one client lets go another one still gets', async () => {
    const { broker, connect, subscribe, messages } = await setup();
    for (const id of [receiver, 'other']) await broker.drop(await subscribe(id));
    await broker.publish('m/1');
    await broker.drop(await connect(receiver, true));
    expect(await messages()).toBeGreaterThan(0);
    const other = await connect('other', false);
    expect((await other.next('publish')).topic).toBe('m/1');
  });
});

describe.skipIf(!hasRedis)('redis', () => {
  const section = async () => {
    const { port, passwordFile } = await startRedis();
    return `[persistence]\ntype = "redis"\nport = ${port}\npassword_file = "${passwordFile}"\n`;
  };
  storedSessionContract(section, { isDurable: true });
});
