/** One session per command. Its token and the private half of its recipient key live in memory only. */
import {
  accessTokenType,
  http,
  jwtTokenType,
  tokenExchangeGrantType,
  type HttpOperation,
} from '@mayfly/contracts';
import { Secret } from '@mayfly/domain';
import { generateSealingKeyPair, type SealingKeyPair } from '@mayfly/tokens';
import type { z } from 'zod';
import { asFailure } from '../failure.ts';
import type { CallLimits, GatewayClient } from './client.ts';

/** How often a session says that it is alive before it would count as silent. */
const beatsInPeriod = 3;

export class Session {
  readonly #client: GatewayClient;
  readonly #token: Secret;
  readonly #keys: SealingKeyPair;
  #tellEnd: (() => void) | undefined;

  private constructor(client: GatewayClient, token: Secret, keys: SealingKeyPair) {
    this.#client = client;
    this.#token = token;
    this.#keys = keys;
  }

  /** RFC 8693 token exchange, with a one-time X25519 key to which the session's secrets will be sealed. */
  static async open(
    client: GatewayClient,
    identity: Secret,
    signal?: AbortSignal,
    heartbeatSeconds?: number,
  ): Promise<Session> {
    const keys = await generateSealingKeyPair();
    const { access_token } = await client.call(
      http.oauth.token,
      {
        grant_type: tokenExchangeGrantType,
        subject_token: identity.reveal(),
        subject_token_type: jwtTokenType,
        requested_token_type: accessTokenType,
        recipient_key: keys.publicJwk,
        ...(heartbeatSeconds === undefined ? {} : { heartbeat_seconds: heartbeatSeconds }),
      },
      { signal },
    );
    return new Session(client, new Secret(access_token), keys);
  }

  async call<I extends z.ZodType, O extends z.ZodType>(
    operation: HttpOperation<I, O>,
    input: z.input<I>,
    limits: CallLimits = {},
  ): Promise<z.output<O>> {
    try {
      return await this.#client.call(operation, input, { ...limits, token: this.#token });
    } catch (error) {
      if (hasEnded(error)) this.#noticeEnd();
      throw error;
    }
  }

  /** Calls `listener` once, when from now on a call is refused because the session is over. */
  whenEnded(listener: () => void): void {
    this.#tellEnd = listener;
  }

  #noticeEnd(): void {
    const tell = this.#tellEnd;
    this.#tellEnd = undefined;
    tell?.();
  }

  /** The payload of a JWE that was sealed to this session. Throws MayflyError for any other. */
  async unseal(jwe: string): Promise<Secret> {
    return new Secret(await this.#keys.open(jwe));
  }

  /**
   * Says that the session is alive, three times in the period that it was opened with, until the function it answers is called
   * or the session is over. What else fails is tried again at the next turn, and so is what may be the refusal of one replica
   * that is out of order: a session is over when it was refused for a whole period.
   */
  keepAlive(heartbeatSeconds: number): () => void {
    let refusals = 0;
    const beat = async () => {
      try {
        await this.#client.call(http.oauth.heartbeat, {}, { token: this.#token });
        refusals = 0;
      } catch (error) {
        if (!hasEnded(error) || ++refusals < beatsInPeriod) return;
        clearInterval(timer);
        this.#noticeEnd();
      }
    };
    const timer = setInterval(() => void beat(), (heartbeatSeconds * 1_000) / beatsInPeriod);
    return () => clearInterval(timer);
  }

  /** Ends the session and every lease of it, also one whose mint is under way (RFC 7009). */
  async end(signal?: AbortSignal): Promise<void> {
    await this.#client.call(
      http.oauth.revokeToken,
      { token: this.#token.reveal(), token_type_hint: 'access_token' },
      { signal },
    );
  }
}

/** Whether a call was refused because its session is over: its time is up, or somebody has ended it. */
export function hasEnded(error: unknown): boolean {
  return asFailure(error).code === 'unauthenticated';
}
