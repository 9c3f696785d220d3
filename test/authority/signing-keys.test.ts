import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  createKeyFiles,
  createSigningKeys,
  dataDirPaths,
  initDataDir,
  type KeyHolder,
  loadConfig,
  openDataDir,
  readKeyEncryptionKey,
  type SigningKey,
} from '@latchkey/authority';
import {
  parseIssuer,
  parseResourceId,
  silentLogger,
  TOKEN_ALGORITHMS,
  type TokenAlgorithm,
  verifyAccessToken,
} from '@latchkey/shared';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import {
  isPublished,
  OVERLAP_SECONDS,
  PUBLISH_AHEAD_SECONDS,
} from '../../authority/src/signing/rotation.ts';
import { allEvents } from '../helpers/audit-events.ts';
import { createCapturedLog } from '../helpers/captured-log.ts';
import { runCli } from '../helpers/cli.ts';
import { createDrivenClock } from '../helpers/driven-clock.ts';
import { temporaryDir } from '../helpers/processes.ts';
import {
  addDevice,
  addThermostatRole,
  BROKER,
  execSql,
  openTestAuthority,
  type TestAuthority,
} from '../helpers/test-authority.ts';

const statuses = (keys: readonly SigningKey[], alg: TokenAlgorithm = 'EdDSA') =>
  keys.filter((key) => key.alg === alg).map(({ status }) => status);
const kidOf = (keys: readonly SigningKey[], status: string, alg = 'EdDSA') =>
  keys.find((key) => key.alg === alg && key.status === status)?.kid;
const filesOf = ({ dataDir }: { dataDir: string }) =>
  readdirSync(dataDirPaths(dataDir).signingKeys).sort();
const published = async ({ signingKeys }: Pick<TestAuthority, 'signingKeys'>) =>
  (await signingKeys.published()).map(({ kid }) => kid);

async function tokenOf(authority: TestAuthority, id = 't-42'): Promise<string> {
  const { status, body } = await authority.token(
    await (await addDevice(authority, id)).assertion(),
  );
  expect(status).toBe(200);
  return (body as { access_token: string }).access_token;
}

const accepts = ({ issuer, signingKeys, clock }: TestAuthority, token: string) =>
  verifyAccessToken(token, {
    ...{ issuer, audience: parseResourceId(BROKER), now: clock.now() },
    ...{ findKey: signingKeys.find, algorithms: TOKEN_ALGORITHMS },
  }).then(
    () => true,
    () => false,
  );

describe('at the start', () => {
  test('there is a key that signs and one that waits, both published', async () => {
    const authority = await openTestAuthority();
    const keys = await authority.signingKeys.list();
    expect(statuses(keys).sort()).toEqual(['active', 'next']);
    expect((await published(authority)).sort()).toEqual(keys.map(({ kid }) => kid).sort());
    expect(filesOf(authority)).toEqual(keys.map(({ kid }) => `${kid}.pem`).sort());
  });

  test('the next key is made for a data directory that has none', async () => {
    const first = await openTestAuthority();
    await first.authority.close();
    execSql(first, "DELETE FROM signing_key WHERE status = 'next'");
    const again = await openTestAuthority({ dataDir: first.dataDir });
    expect(statuses(await again.signingKeys.list()).sort()).toEqual(['active', 'next']);
  });
});

describe('a rotation', () => {
  test('lets the next key sign, and the old one verify while its tokens live', async () => {
    const authority = await openTestAuthority();
    await addThermostatRole(authority);
    const before = await authority.signingKeys.list();
    const token = await tokenOf(authority);
    await authority.clock.advance(PUBLISH_AHEAD_SECONDS * 1000);
    const outcome = await authority.signingKeys.rotate({ now: false });
    expect(outcome).toEqual({ rotated: ['EdDSA'], postponed: [] });
    const after = await authority.signingKeys.list();
    expect(kidOf(after, 'active')).toBe(kidOf(before, 'next'));
    expect(kidOf(after, 'retired')).toBe(kidOf(before, 'active'));
    expect(await published(authority)).toHaveLength(3);
    expect((await authority.signingKeys.signerFor('EdDSA')).publicKey.kid).toBe(
      kidOf(after, 'active'),
    );
    expect(await authority.signingKeys.find(kidOf(before, 'active'))).toBeDefined();
    const fresh = await tokenOf(authority, 't-43');
    expect(await accepts(authority, fresh)).toBe(true);
    expect(token.split('.')[0]).not.toBe(fresh.split('.')[0]);
  });

  test('takes the old key from the JWKS when the longest token of its is expired', async () => {
    const authority = await openTestAuthority();
    await authority.clock.advance(PUBLISH_AHEAD_SECONDS * 1000);
    const old = kidOf(await authority.signingKeys.list(), 'active');
    await authority.signingKeys.rotate({ now: false });
    expect(OVERLAP_SECONDS).toBeGreaterThan(86_400);
    await authority.clock.advance(OVERLAP_SECONDS * 1000 - 1000);
    expect(await published(authority)).toContain(old);
    expect(await authority.signingKeys.find(old)).toBeDefined();
    await authority.clock.advance(1000);
    expect(await published(authority)).not.toContain(old);
    expect(await authority.signingKeys.find(old)).toBeUndefined();
  });

  test('ends the private half of the key that signs no more', async () => {
    const authority = await openTestAuthority();
    const old = kidOf(await authority.signingKeys.list(), 'active');
    await authority.clock.advance(PUBLISH_AHEAD_SECONDS * 1000);
    await authority.signingKeys.rotate({ now: false });
    const inUse = (await authority.signingKeys.list()).filter(({ status }) => status !== 'retired');
    expect(filesOf(authority)).toEqual(inUse.map(({ kid }) => `${kid}.pem`).sort());
    expect(filesOf(authority)).not.toContain(`${old}.pem`);
  });

  test('waits until verifiers know the next key', async () => {
    const authority = await openTestAuthority();
    await authority.clock.advance(PUBLISH_AHEAD_SECONDS * 1000 - 1000);
    const before = await authority.signingKeys.list();
    await expect(authority.signingKeys.rotate({ now: false })).rejects.toMatchObject({
      name: 'ConflictError',
    });
    expect(await authority.signingKeys.list()).toEqual(before);
    await authority.clock.advance(1000);
    await authority.signingKeys.rotate({ now: false });
    await expect(authority.signingKeys.rotate({ now: false })).rejects.toThrow(/cannot be rotated/);
  });

  test('waits when more old keys verify than a JWKS should hold', async () => {
    const authority = await openTestAuthority();
    for (let i = 0; i < 6; i += 1) {
      await authority.clock.advance(PUBLISH_AHEAD_SECONDS * 1000);
      await authority.signingKeys.rotate({ now: false });
    }
    expect(await published(authority)).toHaveLength(8);
    await authority.clock.advance(PUBLISH_AHEAD_SECONDS * 1000);
    await expect(authority.signingKeys.rotate({ now: false })).rejects.toThrow(/cannot be rotated/);
    await authority.clock.advance(OVERLAP_SECONDS * 1000);
    await authority.signingKeys.rotate({ now: false });
    expect(await published(authority)).toHaveLength(3);
  });

  test('by age happens when the age is reached and not before', async () => {
    const authority = await openTestAuthority();
    const day = 86_400;
    await authority.clock.advance(30 * day * 1000 - 1000);
    expect(await authority.signingKeys.rotateOlderThan(30 * day)).toEqual({
      rotated: [],
      postponed: [],
    });
    await authority.clock.advance(1000);
    expect((await authority.signingKeys.rotateOlderThan(30 * day)).rotated).toEqual(['EdDSA']);
    expect((await authority.signingKeys.rotateOlderThan(30 * day)).rotated).toEqual([]);
  });

  test('forgets keys 90 days after nobody trusts them', async () => {
    const authority = await openTestAuthority();
    for (let i = 0; i < 8; i += 1) {
      await authority.clock.advance(30 * 86_400 * 1000);
      await authority.signingKeys.rotate({ now: false });
    }
    expect(statuses(await authority.signingKeys.list())).toHaveLength(6);
  });
});

describe('a rotation now, after a leak', () => {
  test('voids every token of before at once, and new ones are good', async () => {
    const authority = await openTestAuthority();
    await addThermostatRole(authority);
    await authority.clock.advance(PUBLISH_AHEAD_SECONDS * 1000);
    const older = await tokenOf(authority, 't-1');
    await authority.signingKeys.rotate({ now: false });
    const old = await tokenOf(authority, 't-2');
    const before = await published(authority);
    expect([await accepts(authority, older), await accepts(authority, old)]).toEqual([true, true]);
    expect(await authority.signingKeys.rotate({ now: true })).toEqual({
      rotated: ['EdDSA'],
      postponed: [],
    });
    expect([await accepts(authority, older), await accepts(authority, old)]).toEqual([
      false,
      false,
    ]);
    const after = await published(authority);
    expect(after).toHaveLength(2);
    expect(after.some((kid) => before.includes(kid))).toBe(false);
    expect(filesOf(authority)).toEqual(after.map((kid) => `${kid}.pem`).sort());
    expect(await accepts(authority, await tokenOf(authority, 't-3'))).toBe(true);
  });

  test('is possible at any time, also just after another one', async () => {
    const authority = await openTestAuthority();
    for (let i = 0; i < 3; i += 1) await authority.signingKeys.rotate({ now: true });
    expect(await published(authority)).toHaveLength(2);
  });

  test('holds at once in another process on the same data directory', async () => {
    const one = await openTestAuthority();
    const two = await openTestAuthority({ dataDir: one.dataDir, clock: one.clock });
    await addThermostatRole(one);
    const token = await tokenOf(one);
    expect(await accepts(two, token)).toBe(true);
    await two.signingKeys.rotate({ now: true });
    expect(await accepts(one, token)).toBe(false);
    expect(await accepts(two, await tokenOf(one, 't-43'))).toBe(true);
  });

  test('of several at once in two processes each happens, one after the other', async () => {
    const one = await openTestAuthority();
    const two = await openTestAuthority({ dataDir: one.dataDir, clock: one.clock });
    const rotations = [one, two, one, two].map(({ signingKeys }) =>
      signingKeys.rotate({ now: true }),
    );
    await Promise.all(rotations);
    const keys = await one.signingKeys.list();
    expect(statuses(keys).sort()).toEqual([
      'active',
      'next',
      ...Array.from({ length: 8 }, () => 'retired'),
    ]);
    expect(filesOf(one)).toEqual((await published(one)).map((kid) => `${kid}.pem`).sort());
  });
});

describe('algorithms', () => {
  test.each(TOKEN_ALGORITHMS)('a resource can have its tokens signed with %s', async (alg) => {
    const authority = await openTestAuthority();
    await addThermostatRole(authority);
    await authority.registry.patchResource(parseResourceId(BROKER), { signingAlg: alg });
    const token = await tokenOf(authority);
    const header = JSON.parse(Buffer.from(token.split('.')[0]!, 'base64url').toString());
    expect(header).toMatchObject({ alg, typ: 'at+jwt' });
    expect(await accepts(authority, token)).toBe(true);
    const { keys } = (await authority.authority.app.inject('/jwks')).json() as {
      keys: { kid: string; alg: string }[];
    };
    expect(keys.find(({ kid }) => kid === header.kid)).toMatchObject({ alg, use: 'sig' });
    expect(keys.filter((key) => key.alg === alg)).toHaveLength(2);
  });

  test('keys are made once, however many ask for the first', async () => {
    const one = await openTestAuthority();
    const two = await openTestAuthority({ dataDir: one.dataDir, clock: one.clock });
    const ask = ({ signingKeys }: TestAuthority) => signingKeys.signerFor('ES256');
    const signers = await Promise.all([one, two, one, two, one, two].map(ask));
    expect(new Set(signers.map(({ publicKey }) => publicKey.kid)).size).toBe(1);
    expect(statuses(await one.signingKeys.list(), 'ES256').sort()).toEqual(['active', 'next']);
    expect(filesOf(one)).toHaveLength(4);
  });

  test('rotate together; one that is too new stays', async () => {
    const authority = await openTestAuthority();
    await authority.clock.advance(PUBLISH_AHEAD_SECONDS * 1000);
    await authority.signingKeys.signerFor('ES256');
    const until = authority.clock.now() + PUBLISH_AHEAD_SECONDS;
    expect(await authority.signingKeys.rotate({ now: false })).toEqual({
      rotated: ['EdDSA'],
      postponed: [{ alg: 'ES256', until }],
    });
    const outcome = await authority.signingKeys.rotate({ now: true });
    expect([...outcome.rotated].sort()).toEqual(['ES256', 'EdDSA']);
  });
});

test('whatever is rotated when, one key signs, it was published before, and its tokens outlive it', async () => {
  const step = fc.oneof(
    fc.record({ wait: fc.integer({ min: 1, max: 200_000 }) }),
    fc.record({ now: fc.boolean() }),
  );
  const issuer = parseIssuer('https://id.example');
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
      const clock = createDrivenClock();
      const dataDir = temporaryDir();
      await initDataDir({ dataDir, issuer, clock });
      const { registry, signingKeys } = await openDataDir({
        dataDir,
        config: loadConfig(dataDir),
        clock,
      });
      /** Until when each key may have signed tokens that live. */
      const signedUntil = new Map<string, number>();
      for (const one of steps) {
        const { kid } = (await signingKeys.signerFor('EdDSA')).publicKey;
        signedUntil.set(kid, clock.now() + 86_400);
        if ('wait' in one) clock.set(clock.now() + one.wait);
        else {
          const before = await signingKeys.list();
          const isRotated = await signingKeys.rotate(one).then(
            () => true,
            () => false,
          );
          const active = (await signingKeys.list()).find(({ status }) => status === 'active')!;
          if (one.now) signedUntil.clear();
          else if (isRotated) {
            const known = before.find((key) => key.kid === active.kid);
            expect(known?.createdAt).toBeLessThanOrEqual(clock.now() - PUBLISH_AHEAD_SECONDS);
          }
        }
        const keys = await signingKeys.list();
        expect(
          statuses(keys)
            .filter((status) => status !== 'retired')
            .sort(),
        ).toEqual(['active', 'next']);
        for (const [kid, until] of signedUntil) {
          const key = keys.find((candidate) => candidate.kid === kid);
          if (clock.now() < until) expect(key && isPublished(key, clock.now())).toBe(true);
        }
      }
      await registry.close();
    }),
    { numRuns: 25 },
  );
});

describe('a crash', () => {
  /** A holder that dies after it has made so many keys. */
  const dying = (holder: KeyHolder, keys: number): KeyHolder => {
    let made = 0;
    return {
      ...holder,
      create: async (alg) => {
        const signer = await holder.create(alg);
        made += 1;
        if (made === keys) throw new Error('killed');
        return signer;
      },
    };
  };

  test.each([1, 2])(
    'after %i new keys leaves everything as it was, and files that nobody uses',
    async (keys) => {
      const authority = await openTestAuthority();
      const { registry, clock, dataDir } = authority;
      const files = createKeyFiles({ paths: dataDirPaths(dataDir), keyEncryptionKey: undefined });
      const holder = dying(files, keys);
      const doomed = createSigningKeys({ registry, holder, clock, logger: silentLogger });
      const before = await authority.signingKeys.list();
      await expect(doomed.rotate({ now: true })).rejects.toThrow('killed');
      expect(await authority.signingKeys.list()).toEqual(before);
      expect(filesOf(authority)).toHaveLength(2 + keys);
      await authority.authority.close();
      const { exitCode, stderr, stdout } = await runCli(['validate', '--data-dir', dataDir]);
      expect([exitCode, stdout]).toEqual([0, `${dataDir} is valid\n`]);
      expect(stderr.match(/ is of no key in use and can be deleted\n/g)).toHaveLength(keys);
      const again = await openTestAuthority({ dataDir });
      expect((await again.signingKeys.signerFor('EdDSA')).publicKey.kid).toBe(
        kidOf(before, 'active'),
      );
    },
  );

  test('between the end of a key and that of its file leaves a file that the next start removes', async () => {
    const authority = await openTestAuthority();
    const { registry, clock, dataDir } = authority;
    const files = createKeyFiles({ paths: dataDirPaths(dataDir), keyEncryptionKey: undefined });
    const holder = { ...files, discard: () => Promise.reject(new Error('killed')) };
    const doomed = createSigningKeys({ registry, holder, clock, logger: silentLogger });
    await expect(doomed.rotate({ now: true })).rejects.toThrow('killed');
    expect(filesOf(authority)).toHaveLength(4);
    await authority.authority.close();
    const again = await openTestAuthority({ dataDir, clock });
    expect(filesOf(again)).toEqual((await published(again)).map((kid) => `${kid}.pem`).sort());
  });
});

describe('encrypted at rest', () => {
  const KEK = Buffer.alloc(32, 7);

  async function setup() {
    const dataDir = temporaryDir();
    const clock = createDrivenClock();
    await initDataDir({ dataDir, issuer: parseIssuer('https://id.example'), clock });
    const paths = dataDirPaths(dataDir);
    const keyFile = join(temporaryDir(), 'kek');
    writeFileSync(keyFile, `${KEK.toString('hex')}\n`, { mode: 0o600 });
    const settings = readFileSync(paths.config, 'utf8');
    const useKey = () =>
      writeFileSync(
        paths.config,
        settings.replace(/^# (key_encryption_key_file = ).*$/m, `$1"${keyFile}"`),
      );
    const pems = () =>
      readdirSync(paths.signingKeys)
        .filter((name) => name.endsWith('.pem'))
        .map((name) => readFileSync(join(paths.signingKeys, name), 'utf8'));
    const open = async () => {
      const parts = await openDataDir({ dataDir, config: loadConfig(dataDir), clock });
      onTestFinished(() => parts.registry.close().catch(() => undefined));
      return parts;
    };
    return { dataDir, clock, paths, keyFile, useKey, pems, open };
  }
  const encrypt = (dataDir: string) => runCli(['signing-key', 'encrypt', '--data-dir', dataDir]);

  test('the command converts the keys, and they sign as before', async () => {
    const { dataDir, paths, useKey, pems, open } = await setup();
    const secrets = pems().map((pem) => pem.split('\n')[1] as string);
    useKey();
    const { exitCode, stdout } = await encrypt(dataDir);
    expect(exitCode).toBe(0);
    expect(stdout.match(/^encrypted [A-Za-z0-9_-]{43}$/gm)).toHaveLength(2);
    const texts = readdirSync(paths.signingKeys).map((name) => {
      expect(name).toMatch(/^[A-Za-z0-9_-]{43}\.json$/);
      return readFileSync(join(paths.signingKeys, name), 'utf8');
    });
    for (const secret of secrets) {
      const der = Buffer.from(secret, 'base64').toString('hex');
      for (const text of texts) {
        expect(text).not.toContain(secret);
        expect(Buffer.from(text, 'base64url').toString('hex')).not.toContain(der);
      }
    }
    const { signingKeys, registry } = await open();
    const signer = await signingKeys.signerFor('EdDSA');
    expect(await signer.sign(Buffer.from('x'))).toHaveLength(64);
    const kids = stdout.match(/[A-Za-z0-9_-]{43}/g);
    const events = await allEvents(registry, { type: 'signing-key' });
    const recorded = events.filter(({ action }) => action === 'encrypt');
    expect(recorded.map(({ target }) => target)).toEqual(kids);
    expect((await encrypt(dataDir)).stderr).toContain(
      'every private signing key is encrypted already',
    );
  });

  test('new keys are written encrypted', async () => {
    const { paths, useKey, open } = await setup();
    useKey();
    const { signingKeys } = await open();
    await signingKeys.rotate({ now: true });
    await signingKeys.signerFor('RS256');
    expect(readdirSync(paths.signingKeys).every((name) => name.endsWith('.json'))).toBe(true);
    expect(readdirSync(paths.signingKeys)).toHaveLength(4);
  });

  test('a conversion that was broken off is finished', async () => {
    const { dataDir, paths, useKey, pems } = await setup();
    const [name] = readdirSync(paths.signingKeys);
    const pem = pems()[0]!;
    useKey();
    await encrypt(dataDir);
    writeFileSync(join(paths.signingKeys, name!), pem, { mode: 0o600 });
    expect((await encrypt(dataDir)).exitCode).toBe(0);
    expect(readdirSync(paths.signingKeys).filter((file) => file.endsWith('.pem'))).toEqual([]);
  });

  test('without a key encryption key there is nothing to encrypt with', async () => {
    const { dataDir, pems } = await setup();
    const before = pems();
    const { exitCode, stderr } = await encrypt(dataDir);
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining('set key_encryption_key_file')]);
    expect(pems()).toEqual(before);
  });

  test.each<{
    name: string;
    damage: (given: Awaited<ReturnType<typeof setup>>) => void;
    says: string;
  }>([
    {
      name: 'the key encryption key is missing in the settings',
      damage: ({ paths, keyFile }) =>
        writeFileSync(
          paths.config,
          readFileSync(paths.config, 'utf8').replace(`key_encryption_key_file = "${keyFile}"`, ''),
        ),
      says: 'is encrypted: set key_encryption_key_file',
    },
    {
      name: 'the key encryption key is another one',
      damage: ({ keyFile }) => writeFileSync(keyFile, Buffer.alloc(32, 8)),
      says: 'cannot be decrypted',
    },
    {
      name: 'the file of the key encryption key is gone',
      damage: ({ keyFile }) => rmSync(keyFile),
      says: 'does not exist',
    },
    {
      name: 'others can read the key encryption key',
      damage: ({ keyFile }) => chmodSync(keyFile, 0o640),
      says: 'can be read by others (mode 0640)',
    },
    {
      name: 'the key encryption key has 31 bytes',
      damage: ({ keyFile }) => writeFileSync(keyFile, Buffer.alloc(31, 7)),
      says: 'must hold 32 random bytes',
    },
    {
      name: 'the file of a key is that of another',
      damage: ({ paths }) => {
        const [one, two] = readdirSync(paths.signingKeys).map((file) =>
          join(paths.signingKeys, file),
        );
        writeFileSync(one!, readFileSync(two!));
      },
      says: 'holds another key than its name says',
    },
    {
      name: 'the file of a key says that it is another',
      damage: ({ paths }) => {
        const [one, two] = readdirSync(paths.signingKeys).map((file) =>
          join(paths.signingKeys, file),
        );
        const kid = (path: string) => JSON.parse(readFileSync(path, 'utf8')).kid as string;
        writeFileSync(one!, readFileSync(two!, 'utf8').replace(kid(two!), kid(one!)));
      },
      says: 'cannot be decrypted',
    },
    {
      name: 'a character of the ciphertext is another',
      damage: ({ paths }) => {
        const path = join(paths.signingKeys, readdirSync(paths.signingKeys)[0]!);
        const file = JSON.parse(readFileSync(path, 'utf8'));
        const flipped = file.ciphertext.startsWith('A') ? 'B' : 'A';
        writeFileSync(
          path,
          JSON.stringify({ ...file, ciphertext: flipped + file.ciphertext.slice(1) }),
        );
      },
      says: 'cannot be decrypted',
    },
    {
      name: 'the tag is short',
      damage: ({ paths }) => {
        const path = join(paths.signingKeys, readdirSync(paths.signingKeys)[0]!);
        const file = JSON.parse(readFileSync(path, 'utf8'));
        writeFileSync(path, JSON.stringify({ ...file, tag: file.tag.slice(0, 6) }));
      },
      says: 'tag: has a wrong length',
    },
    {
      name: 'the file is no JSON',
      damage: ({ paths }) =>
        writeFileSync(join(paths.signingKeys, readdirSync(paths.signingKeys)[0]!), '{'),
      says: 'is not JSON',
    },
    {
      name: 'others can read the file',
      damage: ({ paths }) =>
        chmodSync(join(paths.signingKeys, readdirSync(paths.signingKeys)[0]!), 0o644),
      says: 'can be read by others (mode 0644)',
    },
  ])('refused, and nothing changed: $name', async ({ damage, says }) => {
    const given = await setup();
    given.useKey();
    await encrypt(given.dataDir);
    damage(given);
    const snapshot = () =>
      readdirSync(given.paths.signingKeys).map((name) =>
        readFileSync(join(given.paths.signingKeys, name), 'utf8'),
      );
    const before = snapshot();
    const { exitCode, stderr } = await runCli(['validate', '--data-dir', given.dataDir]);
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining(says)]);
    await expect(given.open()).rejects.toMatchObject({ name: 'ConfigError' });
    expect(stderr).not.toMatch(/PRIVATE KEY|ciphertext"/);
    expect(snapshot()).toEqual(before);
  });

  test.each([
    { name: 'raw', content: KEK },
    { name: 'hex', content: KEK.toString('hex') },
    { name: 'hex with a newline', content: `${KEK.toString('hex').toUpperCase()}\n` },
    { name: 'base64', content: `${KEK.toString('base64')}\n` },
    { name: 'base64url', content: KEK.toString('base64url') },
  ])('the key encryption key is read as $name, from a file or from systemd', ({ content }) => {
    const directory = temporaryDir();
    const file = join(directory, 'latchkey-key-encryption-key');
    writeFileSync(file, content, { mode: 0o400 });
    expect(readKeyEncryptionKey({ file, credentialsDirectory: undefined })).toEqual(KEK);
    expect(readKeyEncryptionKey({ file: undefined, credentialsDirectory: directory })).toEqual(KEK);
    const empty = temporaryDir();
    expect(readKeyEncryptionKey({ file, credentialsDirectory: empty })).toEqual(KEK);
    expect(readKeyEncryptionKey({ file: undefined, credentialsDirectory: empty })).toBeUndefined();
  });

  test.each([31, 33, 43, 63, 65])('%i letters are no key encryption key', (length) => {
    const file = join(temporaryDir(), 'kek');
    writeFileSync(file, `${'g'.repeat(length - 1)}!`, { mode: 0o600 });
    expect(() => readKeyEncryptionKey({ file, credentialsDirectory: undefined })).toThrow(
      'must hold 32 random bytes',
    );
  });
});

test('a key that cannot be opened is told as unavailable, with nothing of it', async () => {
  const authority = await openTestAuthority();
  const { registry, clock } = authority;
  const log = createCapturedLog();
  const holder: KeyHolder = {
    create: () => Promise.reject(new Error('not here')),
    open: () => Promise.reject(new Error('the KMS does not answer')),
    discard: async () => undefined,
  };
  const signingKeys = createSigningKeys({ registry, holder, clock, logger: log });
  await expect(signingKeys.signerFor('EdDSA')).rejects.toMatchObject({
    error: 'temporarily_unavailable',
    detail: 'the KMS does not answer',
  });
  expect(existsSync(dataDirPaths(authority.dataDir).signingKeys)).toBe(true);
});
