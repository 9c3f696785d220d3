/**
 * A client of ssh-agent: which Ed25519 keys it holds, and signatures by them. The private key never
 * comes here.
 *
 * Each request has a connection of its own, so an agent that was restarted is found again by itself.
 *
 * Units   `timeoutMs` in milliseconds for the whole exchange, sizes in bytes.
 * Errors  `UnreachableError`: no agent answers, it does not have the key, or it refuses. Later may help.
 * Source  draft-ietf-sshm-ssh-agent (SSH_AGENTC_REQUEST_IDENTITIES, SSH_AGENTC_SIGN_REQUEST);
 *         RFC 4251 5 (`uint32`, `string`), RFC 8709 4 and 6 (key and signature of ssh-ed25519).
 *
 * @module
 */
import { verify } from 'node:crypto';
import { connect } from 'node:net';
import {
  formatOpenSshFingerprint,
  openSshBlob,
  type PublicKey,
  parseOpenSshBlob,
  type Signer,
  UnreachableError,
} from '@latchkey/shared';

export interface SshIdentity {
  readonly key: PublicKey;
  readonly comment: string;
}

export interface SshAgentOptions {
  /** Path of its Unix socket: `SSH_AUTH_SOCK`. */
  readonly socketPath: string;
  /** Default 10,000: an agent may ask a person to confirm. */
  readonly timeoutMs?: number;
}

const REQUEST_IDENTITIES = 11;
const IDENTITIES_ANSWER = 12;
const SIGN_REQUEST = 13;
const SIGN_RESPONSE = 14;
const FAILURE = 5;

/** As long as OpenSSH lets a message be, and as many keys as it takes. */
const MAX_MESSAGE_BYTES = 256 * 1024;
const MAX_IDENTITIES = 2048;
const SIGNATURE_TYPE = 'ssh-ed25519';
const SIGNATURE_BYTES = 64;

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

const string = (bytes: Uint8Array): Buffer => Buffer.concat([uint32(bytes.length), bytes]);

/** Reads the fields of a message one after the other, and throws `RangeError` beyond its end. */
function createReader(bytes: Buffer) {
  let at = 0;
  const take = (length: number): Buffer => {
    if (length > bytes.length - at) throw new RangeError('a field ends beyond the message');
    at += length;
    return bytes.subarray(at - length, at);
  };
  const readUint32 = (): number => take(4).readUInt32BE();
  return {
    readByte: () => take(1).readUInt8(),
    readUint32,
    readString: () => take(readUint32()),
    isAtEnd: () => at === bytes.length,
  };
}

type Reader = ReturnType<typeof createReader>;

function readIdentities(reader: Reader): SshIdentity[] {
  const count = reader.readUint32();
  if (count > MAX_IDENTITIES) throw new RangeError('too many keys');
  const identities: SshIdentity[] = [];
  for (let i = 0; i < count; i += 1) {
    const key = parseOpenSshBlob(reader.readString());
    const comment = reader.readString().toString('utf8');
    if (key !== undefined) identities.push({ key, comment });
  }
  return identities;
}

function readSignature(reader: Reader): Uint8Array {
  const blob = createReader(reader.readString());
  const type = blob.readString().toString('latin1');
  const signature = blob.readString();
  if (type !== SIGNATURE_TYPE || signature.length !== SIGNATURE_BYTES || !blob.isAtEnd()) {
    throw new RangeError('not a signature of ssh-ed25519');
  }
  return signature;
}

/** Sends one message and resolves with the one that answers it, without its length. */
function exchange({ socketPath, timeoutMs = 10_000 }: SshAgentOptions, message: Buffer) {
  return new Promise<Buffer>((resolve, reject) => {
    const socket = connect(socketPath);
    let received = Buffer.alloc(0);
    const end = (settle: () => void): void => {
      clearTimeout(timer);
      socket.destroy();
      settle();
    };
    const fail = (why: string, cause?: unknown): void =>
      end(() =>
        reject(new UnreachableError(`ssh-agent at ${socketPath}: ${why}`, cause ? { cause } : {})),
      );
    const timer = setTimeout(() => fail(`no answer within ${timeoutMs} ms`), timeoutMs);
    socket.once('error', (cause: NodeJS.ErrnoException) =>
      fail(`cannot be reached (${cause.code ?? cause.message}); is it running?`, cause),
    );
    socket.once('end', () => fail('closed the connection without an answer'));
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      if (received.length < 4) return;
      const length = received.readUInt32BE();
      if (length === 0 || length > MAX_MESSAGE_BYTES) fail(`answers with ${length} bytes`);
      else if (received.length > 4 + length) fail('says more than it was asked');
      else if (received.length === 4 + length) end(() => resolve(received.subarray(4)));
    });
    socket.write(string(message));
  });
}

async function ask<Answer>(
  options: SshAgentOptions,
  message: Buffer,
  wanted: { readonly type: number; readonly read: (reader: Reader) => Answer; readonly no: string },
): Promise<Answer> {
  const reader = createReader(await exchange(options, message));
  const where = `ssh-agent at ${options.socketPath}`;
  try {
    const type = reader.readByte();
    if (type === FAILURE) throw new UnreachableError(`${where} ${wanted.no}`);
    if (type !== wanted.type) throw new RangeError(`message ${type}`);
    const answer = wanted.read(reader);
    if (!reader.isAtEnd()) throw new RangeError('bytes behind the last field');
    return answer;
  } catch (cause) {
    if (cause instanceof UnreachableError) throw cause;
    throw new UnreachableError(`${where}: its answer is not understood`, { cause });
  }
}

/** The Ed25519 keys that the agent holds; of others it says nothing. None while it is locked. */
export function listSshIdentities(options: SshAgentOptions): Promise<readonly SshIdentity[]> {
  return ask(options, Buffer.of(REQUEST_IDENTITIES), {
    type: IDENTITIES_ANSWER,
    read: readIdentities,
    no: 'does not list its keys',
  });
}

/** Signs with a key that the agent holds. It is asked only when something is to be signed. */
export function createSshAgentSigner(key: PublicKey, options: SshAgentOptions): Signer {
  const blob = string(openSshBlob(key));
  const no =
    `does not sign with ${formatOpenSshFingerprint(key)}; ` +
    'look with ssh-add -l whether it has the key and is not locked';
  return {
    alg: 'EdDSA',
    publicKey: key,
    sign: async (data) => {
      const message = Buffer.concat([Buffer.of(SIGN_REQUEST), blob, string(data), uint32(0)]);
      const wanted = { type: SIGN_RESPONSE, read: readSignature, no };
      const signature = await ask(options, message, wanted);
      // Whoever listens on the socket is not yet whoever has the key.
      if (verify(null, data, key.keyObject, signature)) return signature;
      throw new UnreachableError(
        `ssh-agent at ${options.socketPath}: its signature is not that of the key`,
      );
    },
  };
}
