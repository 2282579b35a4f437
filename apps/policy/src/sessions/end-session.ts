/** Ends a session at its holder's wish (RFC 7009). */
import { MayflyError, type AssertionClaims, type InputOf, type OutputOf, type bus } from '@mayfly/contracts';
import { appendToOutbox, type OutboxRelay } from '@mayfly/messaging';
import { inTransaction } from '@mayfly/postgres';
import type { TokenSigner } from '@mayfly/tokens';
import type { Pool } from 'pg';
import { signAssertion } from '../authorization/sign-assertion.ts';
import { sessionEvent } from '../reporting/events.ts';
import { closeSession } from '../store/sessions.ts';
import type { SessionGate } from './session-gate.ts';
import type { Session } from './session.ts';

export interface EndSessionParts {
  readonly gate: SessionGate;
  readonly assertions: TokenSigner<AssertionClaims>;
  readonly pool: Pool;
  readonly relay: Pick<OutboxRelay, 'nudge'>;
}

export class EndSession {
  constructor(private readonly parts: EndSessionParts) {}

  /**
   * Answers without an assertion when the token is invalid (RFC 7009 §2.2). A token whose session was ended before gets
   * one again: the first caller may have been lost before it had the leases ended.
   */
  async run(input: InputOf<typeof bus.policy.endSession>): Promise<OutputOf<typeof bus.policy.endSession>> {
    const held = await this.parts.gate.readToken(input.token).catch((error: unknown) => {
      if (error instanceof MayflyError && error.code === 'unauthenticated') return undefined;
      throw error;
    });
    if (held === undefined) return {};
    const session = await this.#close(held, input.source_ip);
    if (session === undefined) return {};
    const assertion = await signAssertion(this.parts.assertions, session, {
      action: 'end_session',
      session_id: session.id,
    });
    return { assertion };
  }

  async #close(held: Session, sourceIp: string): Promise<Session | undefined> {
    const found = await inTransaction(this.parts.pool, async (client) => {
      const ended = await closeSession(client, held.id);
      if (ended?.closed === true) {
        const event = sessionEvent('session.closed', ended.session, {
          source_ip: sourceIp,
          reason: 'ended by its holder',
        });
        await appendToOutbox(client, 'policy', [event]);
      }
      return ended;
    });
    if (found?.closed === true) this.parts.relay.nudge();
    return found?.session;
  }
}
