/**
 * COSE_Sign1: signed CBOR, as the trust feed uses it.
 *
 * `alg`, `kid` and `typ` are in the protected header and nothing else is anywhere, so a message has
 * one spelling, one purpose, and no part that is not signed.
 *
 * Units   sizes in bytes.
 * Errors  `CoseError`; its `reason` is for the log.
 * Source  RFC 9052 4.2 and 4.4, RFC 9053 2.2 (EdDSA, -8), RFC 9864 2.2 (Ed25519, -19), RFC 9596 (typ).
 *
 * @module
 */
import { verify } from 'node:crypto';
import { type CborError, type CborValue, decodeCbor, encodeCbor } from './cbor.js';
import type { VerifyingKey } from './jwt.js';
import { SIGNING_ALGORITHMS, type TokenSigner } from './signer.js';
import { fitsAlgorithm } from './token-algorithms.js';

export type CoseRefusal = 'malformed' | 'header' | 'algorithm' | 'type' | 'key' | 'signature';

/** A signed message that was refused. */
export class CoseError extends Error {
  readonly reason: CoseRefusal;

  constructor(reason: CoseRefusal, message: string) {
    super(message);
    this.name = 'CoseError';
    this.reason = reason;
  }
}

const SIGN1_TAG = 18;
const HEADER = { alg: 1, kid: 4, typ: 16 } as const;
const ALG_ED25519 = -19;
const ALG_EDDSA = -8;
const SIGNATURE_BYTES = 64;
const MAX_KID_BYTES = 256;

/** Decodes bytes that came from outside. */
function decode(bytes: Uint8Array, what: string): CborValue {
  try {
    return decodeCbor(bytes);
  } catch (error) {
    throw new CoseError('malformed', `${what} ${(error as CborError).message}`);
  }
}

/** What is signed (RFC 9052 4.4). */
function toBeSigned(protectedHeader: Uint8Array, payload: Uint8Array): Buffer {
  return encodeCbor(['Signature1', protectedHeader, new Uint8Array(), payload]);
}

/** Signs a payload with an Ed25519 key. */
export async function signCose(
  signer: TokenSigner,
  typ: string,
  payload: Uint8Array,
): Promise<Buffer> {
  if (!(SIGNING_ALGORITHMS as readonly string[]).includes(signer.alg)) {
    throw new TypeError('COSE messages are signed with Ed25519');
  }
  const header = encodeCbor(
    new Map<CborValue, CborValue>([
      [HEADER.alg, ALG_ED25519],
      [HEADER.kid, Buffer.from(signer.publicKey.kid)],
      [HEADER.typ, typ],
    ]),
  );
  const signature = await signer.sign(toBeSigned(header, payload));
  return encodeCbor({ tag: SIGN1_TAG, value: [header, new Map(), payload, signature] });
}

interface Envelope {
  readonly header: Uint8Array;
  readonly payload: Uint8Array;
  readonly signature: Uint8Array;
}

function isBytes(value: CborValue | undefined): value is Uint8Array {
  return value instanceof Uint8Array;
}

function openEnvelope(message: Uint8Array): Envelope {
  const decoded = decode(message, 'the message');
  const isSign1 = decoded !== null && typeof decoded === 'object' && 'tag' in decoded;
  const parts = isSign1 && decoded.tag === SIGN1_TAG ? decoded.value : null;
  if (!Array.isArray(parts) || parts.length !== 4) {
    throw new CoseError('malformed', 'the message is not a COSE_Sign1');
  }
  const [header, unprotected, payload, signature] = parts as readonly CborValue[];
  // A payload of null would be a detached one.
  if (!isBytes(header) || !isBytes(payload) || !isBytes(signature)) {
    throw new CoseError('malformed', 'header, payload and signature are not byte strings');
  }
  if (!(unprotected instanceof Map) || unprotected.size > 0) {
    throw new CoseError('header', 'there are headers that are not protected');
  }
  if (signature.length !== SIGNATURE_BYTES) {
    throw new CoseError('malformed', 'the signature is not 64 bytes');
  }
  return { header, payload, signature };
}

/** Reads the protected header, which must hold exactly alg, kid and typ; returns the kid. */
function readHeader(bytes: Uint8Array, typ: string): string {
  const header = decode(bytes, 'the protected header');
  if (!(header instanceof Map) || header.size !== 3) {
    throw new CoseError('header', 'the protected header is not alg, kid and typ');
  }
  const alg: CborValue | undefined = header.get(HEADER.alg);
  if (alg !== ALG_ED25519 && alg !== ALG_EDDSA) {
    throw new CoseError('algorithm', 'alg is not Ed25519 (-19) or EdDSA (-8)');
  }
  if (header.get(HEADER.typ) !== typ) throw new CoseError('type', 'typ is not the one expected');
  const kid: CborValue | undefined = header.get(HEADER.kid);
  if (!isBytes(kid) || kid.length > MAX_KID_BYTES) {
    throw new CoseError('header', 'kid is not a short byte string');
  }
  return Buffer.from(kid).toString('latin1');
}

/** Verifies a message and returns its payload, a view of `message`. */
export async function verifyCose(
  message: Uint8Array,
  typ: string,
  findKey: (kid: string) => VerifyingKey | undefined | Promise<VerifyingKey | undefined>,
): Promise<Uint8Array> {
  const { header, payload, signature } = openEnvelope(message);
  const key = await findKey(readHeader(header, typ));
  if (key === undefined) throw new CoseError('key', 'the key is not known');
  if (!fitsAlgorithm('Ed25519', key.keyObject)) {
    throw new CoseError('key', 'the key is of another algorithm');
  }
  if (!verify(null, toBeSigned(header, payload), key.keyObject, signature)) {
    throw new CoseError('signature', 'the signature is not valid');
  }
  return payload;
}
