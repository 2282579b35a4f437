/**
 * The cases that every provider must pass, whatever its upstream. Called from the provider's own integration spec with
 * what it takes to try things at a real upstream or at a fake that speaks the vendor's wire protocol.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

/** What a mint answers with, as far as the suite looks. Secrets come revealed: the suite must use them. */
export interface ConformanceMint {
  /** JSON, in the form of the provider's `secret` schema. */
  readonly secret: string;
  /** As sealed into the lease's handle. */
  readonly handle: Record<string, unknown>;
  readonly nativeExpiresAt?: Date | undefined;
  readonly fingerprints: readonly { readonly part: string; readonly sha256: string }[];
  readonly useKeys: Readonly<Record<string, string>>;
}

export interface ConformanceMintRequest {
  /** A UUIDv7 or like one; new for each mint. */
  readonly leaseId: string;
  readonly scope: 'bounds' | 'narrower';
  readonly ttlSeconds: number;
}

/** One provider at one upstream. */
export interface ConformanceSubject {
  mint(request: ConformanceMintRequest): Promise<ConformanceMint>;
  revoke(leaseId: string, handle: Record<string, unknown>): Promise<string>;
  reconcile(leaseId: string): Promise<string>;
  /** Whether the secret may do what the narrower scope allows. */
  mayDoTheNarrow(secret: string): Promise<boolean>;
  /** Whether the secret may do what the bounds allow and the narrower scope doesn't. */
  mayDoTheWide(secret: string): Promise<boolean>;
  /** Whether anything of the lease is left upstream, without using the provider. */
  isLeftUpstream(leaseId: string): Promise<boolean>;
  /** Mints that the upstream refuses and that can't reach it. */
  readonly failing: {
    readonly rejected: () => Promise<unknown>;
    readonly unavailable: () => Promise<unknown>;
  };
  /** The upstream's own words and names in those failures: none may be in a reason. */
  readonly upstreamWords: readonly RegExp[];
  close(): Promise<void>;
}

export interface ConformanceOptions {
  /**
   * `named`: what is minted can be found by the lease id and ended at once. `unnamed`: it lives until its own expiry,
   * which then must be told.
   */
  readonly ends: 'named' | 'unnamed';
}

/** A typed failure as providers throw it. */
interface Failure {
  readonly code: string;
  readonly reason: string;
  readonly effect: string;
}

const ttlSeconds = 120;

/** Declares the suite. `makeSubject` is called once, before the first case. */
export function describeProviderConformance(
  name: string,
  options: ConformanceOptions,
  makeSubject: () => Promise<ConformanceSubject>,
): void {
  describe(`${name} conforms as a provider`, () => {
    let subject: ConformanceSubject;
    beforeAll(async () => {
      subject = await makeSubject();
    });
    afterAll(() => subject.close());

    const mint = async (scope: 'bounds' | 'narrower' = 'bounds') => {
      const leaseId = crypto.randomUUID();
      return { leaseId, ...(await subject.mint({ leaseId, scope, ttlSeconds })) };
    };

    it('mints what works, and no wider than its scope', async () => {
      const wide = await mint();
      const narrow = await mint('narrower');
      expect(await subject.mayDoTheNarrow(wide.secret)).toBe(true);
      expect(await subject.mayDoTheWide(wide.secret)).toBe(true);
      expect(await subject.mayDoTheNarrow(narrow.secret)).toBe(true);
      expect(await subject.mayDoTheWide(narrow.secret)).toBe(false);
      for (const made of [wide, narrow]) await subject.revoke(made.leaseId, made.handle);
    });

    it('tells when the upstream ends it by itself, and how it shows in logs', async () => {
      const made = await mint();
      if (options.ends === 'unnamed') expect(made.nativeExpiresAt).toBeDefined();
      if (made.nativeExpiresAt !== undefined) {
        const seconds = (made.nativeExpiresAt.getTime() - Date.now()) / 1000;
        expect(seconds).toBeGreaterThan(ttlSeconds - 35);
        expect(seconds).toBeLessThan(ttlSeconds + 35);
      }
      expect(Object.keys(made.useKeys)).not.toHaveLength(0);
      await subject.revoke(made.leaseId, made.handle);
    });

    it('keeps the secret out of its handle and its use keys', async () => {
      const made = await mint();
      const kept = JSON.stringify([made.handle, made.useKeys]);
      expect(made.fingerprints).not.toHaveLength(0);
      const secret = JSON.parse(made.secret) as Record<string, unknown>;
      for (const { part, sha256 } of made.fingerprints) {
        expect(sha256).toMatch(/^[0-9a-f]{64}$/);
        expect(typeof secret[part]).toBe('string');
        expect(kept).not.toContain(String(secret[part]));
      }
      await subject.revoke(made.leaseId, made.handle);
    });

    if (options.ends === 'named') {
      it('ends it at once, and says so each time it is asked again', async () => {
        const made = await mint();
        expect(await subject.revoke(made.leaseId, made.handle)).toBe('revoked');
        expect(await subject.mayDoTheNarrow(made.secret)).toBe(false);
        expect(await subject.isLeftUpstream(made.leaseId)).toBe(false);
        expect(await subject.revoke(made.leaseId, made.handle)).toBe('already_gone');
        expect(await subject.revoke(made.leaseId, made.handle)).toBe('already_gone');
      });

      it('finds by the lease id alone what a crash between creation and answer left, and removes it', async () => {
        const made = await mint();
        expect(await subject.reconcile(made.leaseId)).toBe('removed');
        expect(await subject.isLeftUpstream(made.leaseId)).toBe(false);
        expect(await subject.mayDoTheNarrow(made.secret)).toBe(false);
        expect(await subject.reconcile(made.leaseId)).toBe('absent');
      });

      it('leaves other leases alone when it ends one', async () => {
        const [ended, other] = [await mint(), await mint()];
        await subject.revoke(ended.leaseId, ended.handle);
        expect(await subject.mayDoTheNarrow(other.secret)).toBe(true);
        await subject.revoke(other.leaseId, other.handle);
      });

      it('finds nothing of a lease that never was', async () => {
        expect(await subject.reconcile(crypto.randomUUID())).toBe('absent');
      });
    } else {
      it('says honestly that it cannot be ended early or found again', async () => {
        const made = await mint();
        expect(await subject.revoke(made.leaseId, made.handle)).toBe('expiry_only');
        expect(await subject.reconcile(made.leaseId)).toBe('unreachable');
      });
    }

    for (const kind of ['rejected', 'unavailable'] as const) {
      it(`tells that the upstream is ${kind} by type, in words of its own`, async () => {
        const failure = await subject.failing[kind]().then(
          () => undefined,
          (error: unknown) => error as Failure,
        );
        expect(failure?.code).toBe(`provider_${kind}`);
        expect(['none', 'unknown']).toContain(failure?.effect);
        for (const words of subject.upstreamWords) expect(failure?.reason).not.toMatch(words);
      });
    }
  });
}
