/** What administrators do with the sessions of their organization, those of people included: see them and end them. */
import {
  MayflyError,
  type AssertionClaims,
  type bus,
  type EventData,
  type InputOf,
  type OutputOf,
} from '@mayfly/contracts';
import { appendToOutbox, type OutboxRelay } from '@mayfly/messaging';
import { inTransaction } from '@mayfly/postgres';
import type { TokenSigner } from '@mayfly/tokens';
import type { Pool } from 'pg';
import { holds } from '../authorization/authorize-act.ts';
import { signAssertion } from '../authorization/sign-assertion.ts';
import { sessionEvent, type SignalReporter } from '../reporting/events.ts';
import { dismissSession, shareOpenings } from '../store/session-ends.ts';
import { listLiveSessions } from '../store/session-list.ts';
import { holdSession } from './hold-session.ts';
import type { SessionGate } from './session-gate.ts';
import { actorOf, type Session } from './session.ts';

export interface AdministerSessionsParts {
  readonly gate: SessionGate;
  readonly assertions: TokenSigner<AssertionClaims>;
  readonly signals: SignalReporter;
  readonly pool: Pool;
  readonly relay: Pick<OutboxRelay, 'nudge'>;
}

export class AdministerSessions {
  constructor(private readonly parts: AdministerSessionsParts) {}

  /** Live ones, newest first. Throws `unauthenticated`, `policy_denied`. */
  async list(
    input: InputOf<typeof bus.policy.listSessions>,
  ): Promise<OutputOf<typeof bus.policy.listSessions>> {
    const { organization } = await this.#administrator(input, 'list_sessions');
    const sessions = await listLiveSessions(this.parts.pool, {
      organization,
      kind: input.kind,
      user: input.user,
      agentId: input.agent_id,
      before: input.after,
      limit: input.limit,
    });
    const last = sessions.length === input.limit ? sessions.at(-1) : undefined;
    return { sessions, ...(last === undefined ? {} : { next: last.session_id }) };
  }

  /**
   * Resolves once the end is durable: from then on its token is refused, and its leases end by the event whatever happens to the
   * caller. Throws `unauthenticated`, `policy_denied`, and `not_found`, also for a session of another organization.
   */
  async close(
    input: InputOf<typeof bus.policy.closeSession>,
  ): Promise<OutputOf<typeof bus.policy.closeSession>> {
    const administrator = await this.#administrator(input, 'close_session');
    const { organization, agentId } = administrator;
    const ended = await inTransaction(this.parts.pool, async (client) => {
      await shareOpenings(client);
      await holdSession(client, administrator, [input.session_id]);
      const found = await dismissSession(client, organization, input.session_id);
      if (found?.closed === true) {
        const event = sessionEvent('session.closed', found.session, {
          source_ip: input.source_ip,
          reason: input.reason,
          outcome: 'dismissed',
          action_context: { closed_by: agentId, closed_by_session: administrator.id },
        });
        await appendToOutbox(client, 'policy', [event]);
      }
      return found;
    });
    if (ended === undefined) throw new MayflyError('not_found', 'No such session.');
    this.parts.relay.nudge();
    const act = { action: 'end_session', session_id: ended.session.id } as const;
    // Its own administrator may have ended itself: the assertion names who asked, and is good for 30 seconds.
    const assertion = await signAssertion(this.parts.assertions, administrator, act);
    return { session_id: ended.session.id, closed: ended.closed, assertion };
  }

  async #administrator(input: { token: string; source_ip: string }, action: string): Promise<Session> {
    const session = await this.parts.gate.liveSession(input.token);
    if (holds(session, 'administrator')) return session;
    const reason = 'only an administrator may see or end the sessions of others';
    const about: EventData = { ...actorOf(session), source_ip: input.source_ip };
    await this.parts.signals.report(
      'request.denied',
      { ...about, reason, outcome: 'policy_denied', action_context: { action } },
      { subject: session.id },
    );
    throw new MayflyError('policy_denied', reason);
  }
}
