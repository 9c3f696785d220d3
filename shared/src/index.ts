/** Public surface of `@latchkey/shared`: exports only. */
export * from './access-token.js';
export * from './address.js';
export * from './assertion.js';
export * from './backoff.js';
export { encodeCborHead } from './cbor.js';
export * from './config.js';
export { CoseError, type CoseRefusal } from './cose.js';
export * from './enrollment.js';
export * from './errors.js';
export * from './exit.js';
export * from './feed-page.js';
export * from './http-client.js';
export * from './ids.js';
export * from './issuer-keys.js';
export * from './json.js';
export {
  MAX_JWT_BYTES,
  type ParsedJwt,
  parseJwt,
  TOKEN_CLOCK_TOLERANCE_SECONDS,
  type VerifyingKey,
} from './jwt.js';

export * from './key-formats.js';
export * from './key-rotation.js';
export * from './keys.js';
export * from './log.js';
export * from './minting-issuer.js';
export * from './oauth-client.js';
export * from './prime-order.js';
export * from './public-key-cache.js';
export * from './rate-limit.js';
export type { Allowed } from './rights-tree.js';
export * from './scope.js';
export * from './signer.js';
export * from './third-party-token.js';
export * from './time.js';
export { parseTlsPin, type TlsPin, tlsPinOf } from './tls-pin.js';
export {
  type EcPublicJwk,
  fitsAlgorithm,
  type IssuerJwk,
  isSameAlgorithm,
  isSignatureLength,
  isSignatureOver,
  type RsaPublicJwk,
  TOKEN_ALGORITHMS,
  type TokenAlgorithm,
  VERIFYING_ALGORITHMS,
  type VerifyingAlgorithm,
} from './token-algorithms.js';
export {
  covers,
  MAX_TOPIC_BYTES,
  MAX_TOPIC_LEVELS,
  matches,
  parseTopicFilter,
  parseTopicName,
  type TopicFilter,
  type TopicName,
} from './topic.js';
export {
  bindTopicRights,
  compileTemplate,
  compileTopicRights,
  type Decision,
  type DenialReason,
  type Denied,
  decide,
  rightsCover,
  scopesOf,
  type TopicRequest,
  type TopicRights,
  type TopicRightsTemplate,
  templateTextOf,
} from './topic-rights.js';
export * from './topic-template.js';
export * from './trust-feed.js';
