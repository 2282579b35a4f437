/** Mayfly's HTTP API as an agent uses it: plain fetch, nothing that an agent in any language could not do. */
import {
  CredentialListing,
  EndOutcome,
  IssuedLease,
  jwtTokenType,
  LeaseView,
  Problem,
  RenewedLease,
  tokenExchangeGrantType,
} from '@mayfly/contracts';
import { PostgresSecret } from '@mayfly/domain';
import { generateSealingKeyPair, type SealingKeyPair } from '@mayfly/tokens';
import { z } from 'zod';

/** A refusal, with the problem details that came with it. */
export class Refused extends Error {
  override readonly name = 'Refused';
  constructor(readonly problem: Problem) {
    super(`${problem.code}: ${problem.detail} (trace ${problem.trace_id ?? 'unknown'})`);
  }
}

const TokenAnswer = z.object({ access_token: z.string(), session_id: z.string() });
const CredentialsAnswer = z.object({ credentials: z.array(CredentialListing) });
const LeasesAnswer = z.object({ leases: z.array(LeaseView), next: z.string().optional() });

/** A lease whose secret has been opened. */
export type OpenedLease<Secret = Record<string, unknown>> = Omit<IssuedLease, 'secret'> & {
  readonly secret: Secret;
};

export interface SessionOptions {
  /** Register a recipient key, so that secrets come sealed (default), or have them through the gateway's one-time key. */
  readonly sealed?: boolean;
  /** The session ends when it goes unheard for longer than these. */
  readonly heartbeatSeconds?: number;
}

/** One session of an agent or a person. */
export class AgentApi {
  private constructor(
    readonly gatewayUrl: string,
    /** Secret. */
    readonly sessionToken: string,
    readonly sessionId: string,
    private readonly key: SealingKeyPair | undefined,
  ) {}

  /** RFC 8693: the platform's identity for a session token. */
  static async openSession(
    gatewayUrl: string,
    identity: string,
    { sealed = true, heartbeatSeconds }: SessionOptions = {},
  ): Promise<AgentApi> {
    const key = sealed ? await generateSealingKeyPair() : undefined;
    const response = await fetch(`${gatewayUrl}/v1/token`, {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: tokenExchangeGrantType,
        subject_token: identity,
        subject_token_type: jwtTokenType,
        ...(key === undefined ? {} : { recipient_key: JSON.stringify(key.publicJwk) }),
        ...(heartbeatSeconds === undefined ? {} : { heartbeat_seconds: String(heartbeatSeconds) }),
      }),
    });
    if (!response.ok) throw new Error(`No session: ${await response.text()}`);
    const { access_token, session_id } = TokenAnswer.parse(await response.json());
    return new AgentApi(gatewayUrl, access_token, session_id, key);
  }

  async credentials(): Promise<z.infer<typeof CredentialsAnswer>> {
    return CredentialsAnswer.parse(await this.call('GET', '/v1/credentials'));
  }

  /** Asks for a credential and opens its secret. Throws Refused. */
  async lease(
    credential: string,
    request: { ttl_seconds?: number; scope?: object; task?: string } = {},
    headers: Record<string, string> = {},
  ): Promise<OpenedLease> {
    const lease = IssuedLease.parse(
      await this.call('POST', '/v1/leases', { credential, ...request }, headers),
    );
    if (this.key === undefined) {
      if (lease.secret === undefined) throw new Error('The secret came sealed.');
      return { ...lease, secret: lease.secret };
    }
    if (lease.sealed === undefined) throw new Error('The secret came unsealed.');
    return { ...lease, secret: JSON.parse(await this.key.open(lease.sealed)) as Record<string, unknown> };
  }

  /** The same for a credential of provider `postgres`. */
  async postgresLease(...asked: Parameters<AgentApi['lease']>): Promise<OpenedLease<PostgresSecret>> {
    const lease = await this.lease(...asked);
    return { ...lease, secret: PostgresSecret.parse(lease.secret) };
  }

  async leases(state: 'live' | 'all' = 'live'): Promise<LeaseView[]> {
    return LeasesAnswer.parse(await this.call('GET', `/v1/leases?state=${state}`)).leases;
  }

  async giveBack(leaseId: string): Promise<EndOutcome> {
    return EndOutcome.parse(await this.call('DELETE', `/v1/leases/${leaseId}`));
  }

  /** Throws Refused. */
  async renew(leaseId: string, request: { ttl_seconds?: number } = {}): Promise<RenewedLease> {
    return RenewedLease.parse(await this.call('POST', `/v1/leases/${leaseId}/renew`, request));
  }

  async reportUse(leaseId: string, action: string): Promise<void> {
    await this.call('POST', `/v1/leases/${leaseId}/uses`, { action });
  }

  /** Any call, with the session token. Throws Refused for an answer with problem details. */
  async call(
    method: string,
    path: string,
    body?: object,
    headers: Record<string, string> = {},
  ): Promise<unknown> {
    const response = await fetch(`${this.gatewayUrl}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${this.sessionToken}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const answer: unknown = await response.json();
    if (!response.ok) throw new Refused(Problem.parse(answer));
    return answer;
  }
}
