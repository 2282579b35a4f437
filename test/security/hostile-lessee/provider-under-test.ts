/**
 * The provider `postgres`, as minting calls it: the one file here that knows it. Everything else speaks of minting, of ending and of
 * cleaning up.
 */
import { PostgresProvider } from '@mayfly/minting/providers/postgres';
import {
  Secret,
  withMark,
  type PostgresCredentialSettings,
  type PostgresScope,
  type PostgresSecret,
} from '@mayfly/domain';
import { randomBytes } from 'node:crypto';

/** One minted credential. */
export interface Lease {
  readonly leaseId: string;
  /** Name of the login role. */
  readonly role: string;
  readonly url: string;
  readonly password: string;
  readonly handle: Handle;
}

/** What a lease is made of. */
export interface Wish {
  /** Default: the broker's bounds. */
  readonly scope?: PostgresScope;
  readonly settings?: PostgresCredentialSettings;
}

/** Whether what an ended lease left in the database has been removed. */
export type CleanUp = 'done' | 'pending';

type MintContext = Parameters<PostgresProvider['mint']>[0];
type EndContext = Parameters<PostgresProvider['revoke']>[0];
type Handle = EndContext['handle'];

/** The shape of the provider's answers and verbs with access and clean-up apart. */
interface SplitEnds {
  cleanUp?(context: EndContext): Promise<unknown>;
}

/** Of a call, in milliseconds: minting's default. */
const deadlineMs = 20_000;

export interface BrokerOptions {
  /** Of each statement, in milliseconds. Default: minting's own. */
  readonly statementTimeoutMs?: number;
  /** Name of the integration. Default: one that nobody else has. */
  readonly integration?: string;
}

/** One integration and one replica of minting. */
export class Broker {
  readonly integration: string;
  readonly #provider: PostgresProvider;
  readonly #mark = randomBytes(5).toString('hex');

  constructor(
    private readonly adminUrl: string,
    /** The credential's bounds. */
    readonly bounds: PostgresScope,
    { statementTimeoutMs = 10_000, integration = `hostile-${crypto.randomUUID()}` }: BrokerOptions = {},
  ) {
    this.integration = integration;
    this.#provider = new PostgresProvider({
      maxConnections: 5,
      statementTimeoutMs,
      connectTimeoutMs: 5_000,
      // Short, so that groups are looked at again and emptied ones dropped while the attacks go on.
      groupFreshMs: 500,
    });
  }

  async mint({ scope = this.bounds, settings = {} }: Wish = {}): Promise<Lease> {
    const leaseId = withMark(crypto.randomUUID(), this.#mark);
    const minted = await this.#provider.mint({
      ...this.#context(leaseId),
      credentialSettings: settings,
      agentId: 'spiffe://acme.example/agent/ci/build/1',
      bounds: this.bounds,
      scope,
      ttlSeconds: 300,
      grantedAt: new Date(),
    } satisfies MintContext);
    const { username, password, url } = JSON.parse(minted.secret.reveal()) as PostgresSecret;
    return { leaseId, role: username, url, password, handle: minted.handle };
  }

  /** Ends the lease's access. Rejects when that did not succeed. */
  async end(lease: Lease): Promise<{ readonly cleanUp: CleanUp }> {
    return { cleanUp: cleanUpIn(await this.#provider.revoke(this.#endContext(lease, { isVital: true }))) };
  }

  /** Removes what the ended lease left, as far as that can be done now. */
  async cleanUp(lease: Lease): Promise<CleanUp> {
    const provider: PostgresProvider & SplitEnds = this.#provider;
    return cleanUpIn(
      await (provider.cleanUp?.(this.#endContext(lease)) ??
        provider.revoke(this.#endContext(lease, { isVital: true }))),
    );
  }

  /** Removes what a mint without activation left. */
  async reconcile({ leaseId }: Lease, settings: PostgresCredentialSettings = {}): Promise<string> {
    const context = { ...this.#context(leaseId, { isVital: true }), credentialSettings: settings };
    return (await this.#provider.reconcile(context)).outcome;
  }

  async renew(lease: Lease): Promise<'renewed' | 'gone'> {
    const notAfter = new Date(Date.now() + 900_000);
    const answer = await this.#provider.renew({ ...this.#endContext(lease), ttlSeconds: 600, notAfter });
    return answer === 'gone' ? 'gone' : 'renewed';
  }

  async inspect(lease: Lease): Promise<string> {
    return this.#provider.inspect(this.#endContext(lease));
  }

  /** The lease ids of what this broker has made and is still there. */
  async list(): Promise<readonly string[]> {
    return this.#provider.list({ ...this.#context(''), mark: this.#mark, limit: 1_000 });
  }

  async close(): Promise<void> {
    await this.#provider.close();
  }

  #endContext(lease: Lease, options: { readonly isVital?: boolean } = {}): EndContext {
    return { ...this.#context(lease.leaseId, options), handle: lease.handle };
  }

  /** As minting's runner makes it: only what ends something goes first, and may have the connection that is kept for ends. */
  #context(leaseId: string, { isVital = false }: { readonly isVital?: boolean } = {}) {
    const end = performance.now() + deadlineMs;
    return {
      leaseId,
      organization: 'acme',
      integration: this.integration,
      // Few iterations: an attacker logs in a thousand times, and it is not the password that is attacked.
      integrationSettings: { admin: 'env:ADMIN', scram_iterations: 1 },
      secrets: () => Promise.resolve(new Secret(this.adminUrl)),
      deadline: {
        isVital,
        signal: AbortSignal.timeout(deadlineMs),
        remainingMs: () => end - performance.now(),
      },
    };
  }
}

/** Says which it is of what the verbs answer: a word where an end left something behind, another or nothing otherwise. */
function cleanUpIn(answer: unknown): CleanUp {
  return answer === 'access_ended' ? 'pending' : 'done';
}
