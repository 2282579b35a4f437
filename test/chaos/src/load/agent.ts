/** One agent at work: has a session, asks for credentials, gives some back, opens a new session when its own has ended. */
import { jwtTokenType, tokenExchangeGrantType } from '@mayfly/contracts';
import { issueIdentityToken, type IdentityIssuer } from '@mayfly/stack';
import { generateSealingKeyPair, type SealingKeyPair } from '@mayfly/tokens';
import type { HttpAnswer, HttpCall, HttpClient } from './http-client.ts';
import type { CredentialKind, HeldCredential, Party } from './ledger.ts';

export const credentialOf = {
  postgres: 'orders-db/readonly',
  jwt: 'reports-api/read',
} as const satisfies Record<CredentialKind, string>;

/** The session has ended; a new one is to be opened. */
export class SessionOver extends Error {
  override readonly name = 'SessionOver';
}

/** Longest that an agent waits for an answer before it asks again, in milliseconds. */
const patienceMs = 4_000;

/** A refusal or a failure: try again later, as agents do. `code` is Mayfly's, or what the network said. */
export class AskAgain extends Error {
  override readonly name = 'AskAgain';
  constructor(readonly code: string) {
    super(code);
  }
}

/** Claims of an agent that the trust rules of `mayfly.yaml` admit. */
export function agentClaims(instance: string, orchestration = 'chaos'): Record<string, unknown> {
  return {
    kind: 'agent',
    orchestration,
    task: 'load',
    instance,
    role: 'analyst',
    on_behalf_of: 'ada@example.com',
  };
}

/** Opens a session for these claims. Throws AskAgain when there is none to be had now. */
export async function openSession(
  http: HttpClient,
  issuer: IdentityIssuer,
  claims: Record<string, unknown>,
  key?: SealingKeyPair,
): Promise<{ token: string; sessionId: string }> {
  const identity = await issueIdentityToken(issuer, { sub: 'chaos', ...claims }, { expiresInSeconds: 300 });
  const { status, body } = await answerOf(http, {
    method: 'POST',
    path: '/v1/token',
    form: {
      grant_type: tokenExchangeGrantType,
      subject_token: identity,
      subject_token_type: jwtTokenType,
      ...(key === undefined ? {} : { recipient_key: JSON.stringify(key.publicJwk) }),
    },
  });
  if (status !== 200) throw new AskAgain(codeIn(body['error'], status));
  return { token: String(body['access_token']), sessionId: String(body['session_id']) };
}

export class ChaosAgent {
  #session: { token: string; sessionId: string } | undefined;
  #key: SealingKeyPair | undefined;

  constructor(
    private readonly http: HttpClient,
    private readonly issuer: IdentityIssuer,
    private readonly claims: Record<string, unknown>,
    /** Half of the agents have a key of their own that secrets are sealed to. */
    private readonly sealed: boolean,
    readonly party: Party,
  ) {}

  get sessionId(): string | undefined {
    return this.#session?.sessionId;
  }

  async open(): Promise<void> {
    if (this.#session !== undefined) return;
    if (this.sealed) this.#key ??= await generateSealingKeyPair();
    this.#session = await openSession(this.http, this.issuer, this.claims, this.#key);
  }

  /** Throws AskAgain or SessionOver. */
  async ask(kind: CredentialKind, ttlSeconds: number): Promise<HeldCredential> {
    const body = await this.#call('POST', '/v1/leases', {
      credential: credentialOf[kind],
      ttl_seconds: ttlSeconds,
    });
    return this.#held(kind, body);
  }

  /**
   * Has a lease live for longer, and notes that in it; a successor is answered, where that is how its upstream renews. Throws
   * AskAgain, and then nobody but the register knows whether it was renewed, or SessionOver.
   */
  async renew(credential: HeldCredential, ttlSeconds: number): Promise<HeldCredential | undefined> {
    credential.renewalUnknown = true;
    const body = await this.#call('POST', `/v1/leases/${credential.leaseId}/renew`, {
      ttl_seconds: ttlSeconds,
    });
    const expiresAt = Date.parse(String(body['expires_at']));
    credential.renewalUnknown = false;
    if (body['lease_id'] === credential.leaseId) {
      credential.expiresAt = expiresAt;
      return undefined;
    }
    // The old one goes on for its grace; that it ended no later than planned is checked by its own expiry.
    return this.#held(credential.kind, body);
  }

  /** The outcome that Mayfly tells. */
  async giveBack(leaseId: string): Promise<string> {
    return String((await this.#call('DELETE', `/v1/leases/${leaseId}`))['outcome']);
  }

  async #held(kind: CredentialKind, body: HttpAnswer['body']): Promise<HeldCredential> {
    const secret =
      this.#key === undefined
        ? (body['secret'] as Record<string, string>)
        : (JSON.parse(await this.#key.open(String(body['sealed']))) as Record<string, string>);
    return {
      leaseId: String(body['lease_id']),
      kind,
      party: this.party,
      secret: String(kind === 'postgres' ? secret['url'] : secret['token']),
      receivedAt: Date.now(),
      expiresAt: Date.parse(String(body['expires_at'])),
    };
  }

  async #call(method: 'POST' | 'DELETE', path: string, json?: object): Promise<HttpAnswer['body']> {
    if (this.#session === undefined) throw new SessionOver();
    const { status, body } = await answerOf(this.http, {
      method,
      path,
      token: this.#session.token,
      ...(json === undefined ? {} : { json }),
    });
    if (status < 300) return body;
    if (status === 401) {
      this.#session = undefined;
      throw new SessionOver();
    }
    throw new AskAgain(codeIn(body['code'], status));
  }
}

/** What an error answer says that it is. */
function codeIn(code: unknown, status: number): string {
  return typeof code === 'string' ? code : `HTTP ${String(status)} without a code`;
}

/** Throws AskAgain when there is no answer, with what the network said. */
async function answerOf(http: HttpClient, call: HttpCall): Promise<HttpAnswer> {
  try {
    return await http.call({ timeoutMs: patienceMs, ...call });
  } catch (error) {
    throw new AskAgain((error as NodeJS.ErrnoException).code ?? (error as Error).message);
  }
}
