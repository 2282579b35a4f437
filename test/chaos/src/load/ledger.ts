/** Every credential that left Mayfly, as its holder got it. What is in here must be accounted for, and die in time. */

export type CredentialKind = 'postgres' | 'jwt';

/** Whose hands a credential is in. */
export type Party = 'honest' | 'hostile';

/** One credential in somebody's hands. Times in milliseconds since the epoch; Postgres runs on this machine's clock. */
export interface HeldCredential {
  readonly leaseId: string;
  readonly kind: CredentialKind;
  readonly party: Party;
  /** Connection URL or token. Secret. */
  readonly secret: string;
  readonly receivedAt: number;
  /** Later after a renewal in place. */
  expiresAt: number;
  /** Set while, or after, a renewal whose outcome the holder does not know: only the register does. */
  renewalUnknown?: boolean;
  /** Set when Mayfly answered that it has ended. */
  revokedAt?: number;
}

export class Ledger {
  readonly #held: HeldCredential[] = [];
  readonly #listeners: ((credential: HeldCredential) => void)[] = [];

  add(credential: HeldCredential): void {
    this.#held.push(credential);
    for (const listener of this.#listeners) listener(credential);
  }

  onAdded(listener: (credential: HeldCredential) => void): void {
    this.#listeners.push(listener);
  }

  all(): readonly HeldCredential[] {
    return this.#held;
  }

  /** How many were received in [from, to). */
  receivedBetween(from: number, to: number): number {
    return this.#held.filter(({ receivedAt }) => receivedAt >= from && receivedAt < to).length;
  }
}
