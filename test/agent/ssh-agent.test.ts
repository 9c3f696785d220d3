import { execFileSync } from 'node:child_process';
import { createHash, verify } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { createSshAgentSigner, listSshIdentities } from '@latchkey/agent/daemon';
import {
  formatOpenSshFingerprint,
  generateKey,
  openSshBlob,
  UnreachableError,
} from '@latchkey/shared';
import { expect, onTestFinished, test } from 'vitest';
import { temporaryDir } from '../helpers/processes.ts';
import { startSshAgent } from '../helpers/ssh-agent-process.ts';

const DATA = Buffer.from('eyJhbGciOiJFZERTQSJ9.e30');

test('lists the Ed25519 keys of a real ssh-agent, and no others', async () => {
  const agent = await startSshAgent();
  agent.addKey('thermostat');
  agent.addKey('spare');
  execFileSync('ssh-keygen', ['-q', '-t', 'ecdsa', '-N', '', '-f', join(agent.dir, 'other')]);
  agent.add(join(agent.dir, 'other'));
  const identities = await listSshIdentities(agent);
  expect(identities.map(({ comment }) => comment)).toEqual(['thermostat', 'spare']);
  const listed = execFileSync('ssh-add', ['-l'], { env: agent.env }).toString();
  for (const { key } of identities) expect(listed).toContain(formatOpenSshFingerprint(key));
});

test('a real ssh-agent signs, and the signature verifies', async () => {
  const agent = await startSshAgent();
  agent.addKey('thermostat');
  const [identity] = await listSshIdentities(agent);
  const signer = createSshAgentSigner(identity!.key, agent);
  expect(signer.alg).toBe('EdDSA');
  for (const data of [DATA, Buffer.alloc(0), Buffer.alloc(100_000, 7)]) {
    const signature = await signer.sign(data);
    expect(signature.length).toBe(64);
    expect(verify(null, data, identity!.key.keyObject, signature)).toBe(true);
  }
});

test('a key that was taken out of ssh-agent is told, and one that comes back signs again', async () => {
  const agent = await startSshAgent();
  const file = agent.addKey('thermostat');
  const [identity] = await listSshIdentities(agent);
  const signer = createSshAgentSigner(identity!.key, agent);
  execFileSync('ssh-add', ['-q', '-d', file], { env: agent.env, stdio: 'ignore' });
  await expect(signer.sign(DATA)).rejects.toThrow(
    `does not sign with ${formatOpenSshFingerprint(identity!.key)}`,
  );
  agent.add(file);
  expect((await signer.sign(DATA)).length).toBe(64);
});

test('a locked ssh-agent has no keys and does not sign', async () => {
  const agent = await startSshAgent();
  agent.addKey('thermostat');
  const [identity] = await listSshIdentities(agent);
  await agent.lock();
  expect(await listSshIdentities(agent)).toEqual([]);
  const signer = createSshAgentSigner(identity!.key, agent);
  await expect(signer.sign(DATA)).rejects.toThrow(/ssh-add -l/);
});

test('an ssh-agent that is gone is told, and one that was started anew is found', async () => {
  const agent = await startSshAgent();
  const file = agent.addKey('thermostat');
  const [identity] = await listSshIdentities(agent);
  const signer = createSshAgentSigner(identity!.key, agent);
  await agent.kill();
  const gone = await signer.sign(DATA).catch((error: unknown) => error);
  expect(gone).toBeInstanceOf(UnreachableError);
  expect(String(gone)).toMatch(/ECONNREFUSED|ENOENT/);
  const again = await startSshAgent(agent.dir);
  again.add(file);
  expect((await signer.sign(DATA)).length).toBe(64);
});

test('no socket at all is told', async () => {
  const socketPath = join(temporaryDir(), 'none');
  expect(existsSync(socketPath)).toBe(false);
  await expect(listSshIdentities({ socketPath })).rejects.toThrow(/ENOENT.*is it running/);
});

/** Somebody on the socket who answers every request with these bytes; `undefined`: never. */
async function startImpostor(answer: Buffer | undefined) {
  const socketPath = join(temporaryDir(), 'sock');
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('data', () => answer && socket.end(answer));
  });
  server.listen(socketPath);
  await once(server, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { socketPath, timeoutMs: 200 };
}

const uint32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
};
const text = (value: Uint8Array | string): Buffer => {
  const bytes = Buffer.from(value);
  return Buffer.concat([uint32(bytes.length), bytes]);
};
const framed = (...parts: Uint8Array[]): Buffer => text(Buffer.concat(parts));
const KEY = generateKey().publicKey;
const blobOf = (type: string, signature: Uint8Array, ...more: Uint8Array[]) =>
  framed(Buffer.of(14), text(Buffer.concat([text(type), text(signature), ...more])));

test.each([
  { name: 'nothing, and leaves', answer: Buffer.alloc(0) },
  { name: 'nothing, and stays', answer: undefined },
  { name: 'half a length', answer: Buffer.of(0, 0) },
  { name: 'half a message', answer: uint32(10) },
  { name: 'an empty message', answer: uint32(0) },
  { name: 'a message of 4 GiB', answer: uint32(0xffffffff) },
  { name: 'a message of a byte too many', answer: uint32(256 * 1024 + 1) },
  { name: 'two messages', answer: Buffer.concat([framed(Buffer.of(5)), framed(Buffer.of(5))]) },
  { name: 'a refusal', answer: framed(Buffer.of(5)) },
  { name: 'a message of another type', answer: framed(Buffer.of(6)) },
  { name: 'a type alone', answer: framed(Buffer.of(12)) },
  { name: 'a list of four billion keys', answer: framed(Buffer.of(12), uint32(0xffffffff)) },
  { name: 'a list of a key too many', answer: framed(Buffer.of(12), uint32(2049)) },
  { name: 'a list that ends early', answer: framed(Buffer.of(12), uint32(1), uint32(9)) },
  {
    name: 'bytes behind the list',
    answer: framed(Buffer.of(12), uint32(0), Buffer.of(0)),
  },
])('an ssh-agent that answers a list with $name is refused', async ({ answer }) => {
  const error = await listSshIdentities(await startImpostor(answer)).catch((e: unknown) => e);
  expect(error).toBeInstanceOf(UnreachableError);
  expect(String(error)).toMatch(/^UnreachableError: ssh-agent at \//);
});

test('keys of other types are left out; a weak Ed25519 key is refused', async () => {
  const list = (...blobs: Uint8Array[]) =>
    framed(
      Buffer.of(12),
      uint32(blobs.length),
      ...blobs.flatMap((blob) => [text(blob), text('comment')]),
    );
  const good = openSshBlob(KEY);
  const other = text('ecdsa-sha2-nistp256');
  const listed = await listSshIdentities(await startImpostor(list(other, good)));
  expect(listed.map(({ key, comment }) => [key.kid, comment])).toEqual([[KEY.kid, 'comment']]);
  const weak = Buffer.concat([good.subarray(0, -32), Buffer.alloc(32)]);
  await expect(listSshIdentities(await startImpostor(list(weak)))).rejects.toThrow(
    UnreachableError,
  );
});

test.each([
  { name: 'of another type', answer: blobOf('ssh-rsa', Buffer.alloc(64)) },
  { name: 'that is too short', answer: blobOf('ssh-ed25519', Buffer.alloc(63)) },
  { name: 'that is too long', answer: blobOf('ssh-ed25519', Buffer.alloc(65)) },
  { name: 'with bytes behind it', answer: blobOf('ssh-ed25519', Buffer.alloc(64), Buffer.of(1)) },
  { name: 'of nobody', answer: blobOf('ssh-ed25519', createHash('sha512').digest()) },
])('a signature $name is refused', async ({ answer }) => {
  const signer = createSshAgentSigner(KEY, await startImpostor(answer));
  await expect(signer.sign(DATA)).rejects.toThrow(UnreachableError);
});
