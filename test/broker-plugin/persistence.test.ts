/** Stored sessions of `latchkey-broker` in memory, in a directory and in Redis: one contract. */
import { join } from 'node:path';
import { describe } from 'vitest';
import { temporaryDir } from '../helpers/processes.ts';
import { hasRedis, startRedis } from '../helpers/redis-server.ts';
import { storedSessionContract } from '../helpers/stored-sessions.ts';

describe('memory', () => {
  storedSessionContract(async () => '[persistence]\ntype = "memory"\n', { isDurable: false });
});

describe('level', () => {
  const section = async () =>
    `[persistence]\ntype = "level"\ndirectory = "${join(temporaryDir(), 'sessions')}"\n`;
  storedSessionContract(section, { isDurable: true });
});

describe.skipIf(!hasRedis)('redis', () => {
  const section = async () => {
    const { port, passwordFile } = await startRedis();
    return `[persistence]\ntype = "redis"\nport = ${port}\npassword_file = "${passwordFile}"\n`;
  };
  storedSessionContract(section, { isDurable: true });
});
