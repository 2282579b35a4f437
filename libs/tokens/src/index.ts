/** Everything signed or sealed in Mayfly: keys from files, one table of token kinds, JWS, JWE and platform identities. */
export { tokenKinds, toolTokenAudienceIsAllowed, type TokenKind, type ToolTokenKind } from './kinds.ts';
export { keyFiles, type KeyFiles } from './key-files.ts';
export { KeyFileError, type WatchOptions } from './watched-file.ts';
export type { PublicJwks, PublicSignatureJwk, SignatureAlgorithm } from './jwk.ts';
export {
  loadSigningKeys,
  loadVerificationKeys,
  publicJwks,
  type SigningKey,
  type SigningKeys,
  type VerificationKey,
  type VerificationKeys,
} from './keys.ts';
export { TokenSigner, type SignOptions } from './signer.ts';
export { TokenVerifier, type VerifyOptions } from './verifier.ts';
export { signToolToken, verifyToolToken, type VerifiedToolToken } from './tool-token.ts';
export { IdentityVerifier, type IdentityKey, type TrustIssuer, type VerifiedIdentity } from './identity.ts';
export { isAcceptableJwksUrl, UnknownKey } from './issuer-keys.ts';
export {
  generateSealingKeyPair,
  loadSealingKey,
  loadSealingPublicKey,
  sealTo,
  type SealingKey,
  type SealingKeyPair,
} from './sealing.ts';
export { HandleBox, type HandleBinding } from './handle.ts';
export { fingerprint } from './fingerprint.ts';
