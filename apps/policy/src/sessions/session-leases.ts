/** Ends the leases of sessions that policy has closed by itself. */
import { bus, type AssertionClaims } from '@mayfly/contracts';
import type { BusClient } from '@mayfly/messaging';
import type { Logger } from '@mayfly/telemetry';
import type { TokenSigner } from '@mayfly/tokens';
import { signAssertion } from '../authorization/sign-assertion.ts';
import type { Session } from './session.ts';

export interface SessionLeasesParts {
  readonly client: Pick<BusClient, 'call'>;
  readonly assertions: TokenSigner<AssertionClaims>;
  readonly logger: Pick<Logger, 'warn'>;
}

/** Sessions that revocation is asked to end at the same time. */
const atOnce = 8;
/** What has not been asked for by then is left to the events, so that the next sweep is not late. Milliseconds. */
const longestMs = 3_000;

export class SessionLeases {
  constructor(private readonly parts: SessionLeasesParts) {}

  /**
   * Asks revocation, which fences each session and ends its leases, without the event stream: that may be full, and ends never
   * wait for it. Never rejects: the event `session.closed` asks for the same, as often as it takes.
   */
  async end(sessions: readonly Session[]): Promise<void> {
    const waiting = [...sessions];
    const giveUpAt = performance.now() + longestMs;
    const failures: unknown[] = [];
    const endOneByOne = async () => {
      for (let session = waiting.shift(); session !== undefined; session = waiting.shift()) {
        await this.#end(session, giveUpAt - performance.now()).catch((error: unknown) =>
          failures.push(error),
        );
      }
    };
    await Promise.all(Array.from({ length: atOnce }, endOneByOne));
    if (failures.length > 0) {
      const fields = { err: failures[0], sessions: failures.length };
      this.parts.logger.warn(fields, 'the leases of closed sessions are left for the event log to end');
    }
  }

  /** Throws `dependency_unavailable`, at once when there is no time left. */
  async #end(session: Session, timeoutMs: number): Promise<void> {
    const { client, assertions } = this.parts;
    const act = { action: 'end_session', session_id: session.id } as const;
    const assertion = await signAssertion(assertions, session, act);
    await client.call(bus.revocation.endSession, { assertion }, { timeoutMs });
  }
}
