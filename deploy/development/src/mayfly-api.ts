/** Mayfly's HTTP API as the demo's agent uses it: plain fetch, nothing that an agent in any language could not do. */
import {
  accessTokenType,
  CredentialListing,
  IssuedLease,
  jwtTokenType,
  Problem,
  tokenExchangeGrantType,
} from '@mayfly/contracts';
import { PostgresSecret } from '@mayfly/domain';
import { generateSealingKeyPair, type SealingKeyPair } from '@mayfly/tokens';
import { z } from 'zod';

/** A refusal, with the problem details that came with it. */
export class Refused extends Error {
  constructor(readonly problem: Problem) {
    super(`${problem.code}: ${problem.detail} (trace ${problem.trace_id ?? 'unknown'})`);
  }
}

const TokenAnswer = z.object({ access_token: z.string(), session_id: z.string() });
const CredentialsAnswer = z.object({ credentials: z.array(CredentialListing) });

export type PostgresLease = Omit<IssuedLease, 'secret'> & { readonly secret: PostgresSecret };

export class MayflyApi {
  private constructor(
    private readonly gatewayUrl: string,
    private readonly sessionToken: string,
    readonly sessionId: string,
    private readonly key: SealingKeyPair,
  ) {}

  /** RFC 8693: the platform's identity for a session token. */
  static async openSession(gatewayUrl: string, identity: string): Promise<MayflyApi> {
    const key = await generateSealingKeyPair();
    const response = await fetch(`${gatewayUrl}/v1/token`, {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: tokenExchangeGrantType,
        subject_token: identity,
        subject_token_type: jwtTokenType,
        requested_token_type: accessTokenType,
        recipient_key: JSON.stringify(key.publicJwk),
      }),
    });
    if (!response.ok) throw new Error(`No session: ${await response.text()}`);
    const { access_token, session_id } = TokenAnswer.parse(await response.json());
    return new MayflyApi(gatewayUrl, access_token, session_id, key);
  }

  async credentials(): Promise<z.infer<typeof CredentialsAnswer>> {
    return CredentialsAnswer.parse(await this.call('GET', '/v1/credentials'));
  }

  async lease(
    credential: string,
    request: { ttl_seconds?: number; scope?: object } = {},
  ): Promise<PostgresLease> {
    const lease = IssuedLease.parse(await this.call('POST', '/v1/leases', { credential, ...request }));
    if (lease.sealed === undefined) throw new Error('The secret came unsealed.');
    const secret = PostgresSecret.parse(JSON.parse(await this.key.open(lease.sealed)));
    return { ...lease, secret };
  }

  async reportUse(leaseId: string, action: string): Promise<void> {
    await this.call('POST', `/v1/leases/${leaseId}/uses`, { action });
  }

  private async call(method: string, path: string, body?: object): Promise<unknown> {
    const response = await fetch(`${this.gatewayUrl}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${this.sessionToken}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const answer: unknown = await response.json();
    if (!response.ok) throw new Refused(Problem.parse(answer));
    return answer;
  }
}
