/**
 * Where each key lies under one folder. Every private file belongs to one service, mode 0600; the files under `public/`
 * hold the public halves and are what verifiers pin. All are JWK Sets (RFC 7517 §5): the first key signs or seals, the
 * others only verify or open, which is what makes rotation possible.
 */
import { join } from 'node:path';

export type KeyFiles = ReturnType<typeof keyFiles>;

/** Paths of the key files under `root`. */
export function keyFiles(root: string) {
  const file = (owner: string, name: string) => join(root, owner, `${name}.jwks.json`);
  return {
    /** Private, of policy: Ed25519, and X25519 for `sealing` (session tokens travel to policy sealed to it). */
    policy: {
      sessionToken: file('policy', 'session-token'),
      /** Signs grants and reconcile orders. */
      grant: file('policy', 'grant'),
      assertion: file('policy', 'assertion'),
      sealing: file('policy', 'sealing'),
    },
    /** Private, of minting: Ed25519 or P-256 for `toolToken`, 256-bit `oct` for `handle`, X25519 for `sealing`. */
    minting: {
      toolToken: file('minting', 'tool-token'),
      handle: file('minting', 'handle'),
      sealing: file('minting', 'sealing'),
    },
    /** Private, of audit: Ed25519. */
    audit: { checkpoint: file('audit', 'checkpoint') },
    /** Public halves, for every service that verifies or seals. */
    public: {
      sessionToken: file('public', 'session-token'),
      grant: file('public', 'grant'),
      assertion: file('public', 'assertion'),
      toolToken: file('public', 'tool-token'),
      checkpoint: file('public', 'checkpoint'),
      policySealing: file('public', 'policy-sealing'),
      mintingSealing: file('public', 'minting-sealing'),
    },
  } as const;
}
