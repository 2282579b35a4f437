/** Blocking and unblocking, by administrators. What a block stops is decided in `decisions/` and `trust/`. */
import {
  MayflyError,
  type Act,
  type AssertionClaims,
  type Block,
  type BlockSubject,
  type bus,
  type EventData,
  type InputOf,
  type OutputOf,
} from '@mayfly/contracts';
import { appendToOutbox, type OutboxRelay } from '@mayfly/messaging';
import { inTransaction } from '@mayfly/postgres';
import type { TokenSigner } from '@mayfly/tokens';
import type { Pool, PoolClient } from 'pg';
import { v7 as uuidv7 } from 'uuid';
import { holds } from '../authorization/authorize-act.ts';
import { signAssertion } from '../authorization/sign-assertion.ts';
import type { KnownSubjects } from '../configuration/known-subjects.ts';
import { sessionEvent, type SignalReporter } from '../reporting/events.ts';
import { holdSession } from '../sessions/hold-session.ts';
import type { SessionGate } from '../sessions/session-gate.ts';
import type { SessionLeases } from '../sessions/session-leases.ts';
import { actorOf, type Session } from '../sessions/session.ts';
import { deleteBlock, listBlocks, upsertBlock, type StoredBlock } from '../store/blocks.ts';
import { endBlockedPeople, holdOpenings } from '../store/session-ends.ts';
import { blockEvent } from './block-event.ts';

export interface BlocksParts {
  readonly gate: SessionGate;
  readonly known: Pick<KnownSubjects, 'require'>;
  readonly assertions: TokenSigner<AssertionClaims>;
  readonly signals: SignalReporter;
  readonly pool: Pool;
  readonly relay: Pick<OutboxRelay, 'nudge'>;
  readonly leases: Pick<SessionLeases, 'end'>;
}

export class Blocks {
  constructor(private readonly parts: BlocksParts) {}

  /**
   * Resolves once the block is durable: no decision after that lets its subject through, and a person who is blocked has no session
   * any more and opens none. Durable with it, by the event, is the
   * order to stop what was decided before and, if asked for, to end what lives. The assertion does the same at once. Throws `unauthenticated`, `policy_denied`, and `invalid_request` for a subject that is none.
   */
  async add(input: InputOf<typeof bus.policy.addBlock>): Promise<OutputOf<typeof bus.policy.addBlock>> {
    const { subject, reason, for_seconds: forSeconds, revoke } = input;
    const session = await this.#administrator(input, 'add_block');
    if (isOwn(subject, session)) {
      throw new MayflyError(
        'invalid_request',
        'You would lock yourself out; let another administrator block you.',
      );
    }
    await this.parts.known.require(session.organization, subject);
    // One for each time that it is asked for: what has come to life since ends too.
    const revocation = revoke ? { revocation_id: uuidv7() } : {};
    const { block, people } = await inTransaction(this.parts.pool, async (client) => {
      const ended = await this.#endPeople(client, session, subject);
      const stored = await upsertBlock(client, {
        id: uuidv7(),
        organization: session.organization,
        subject,
        reason,
        addedBy: session.agentId,
        forSeconds,
        bindsPlatform: holds(session, 'platform_administrator'),
      });
      // The reason of who asks now, also where the block goes on with the one of a platform administrator.
      const caused = { ...about(session, input), ...revocation, reason, outcome: 'blocked' };
      const event = blockEvent('block.added', stored, caused);
      const closed = ended.map((person) =>
        sessionEvent('session.closed', person, {
          reason: `block ${stored.id}`,
          outcome: 'blocked',
          block_id: stored.id,
          action_context: { closed_by: session.agentId, closed_by_session: session.id },
        }),
      );
      await appendToOutbox(client, 'policy', [event, ...closed]);
      return { block: stored, people: ended };
    });
    this.parts.relay.nudge();
    await this.parts.leases.end(people);
    const act: Act = revoke
      ? { action: 'revoke', subject, reason, ...revocation }
      : { action: 'fence', subject, reason };
    return { block: viewOf(block), assertion: await signAssertion(this.parts.assertions, session, act) };
  }

  /**
   * Throws `unauthenticated`, `policy_denied`, also for a block that a platform administrator has made, and `not_found`, also for one
   * of another organization.
   */
  async remove(
    input: InputOf<typeof bus.policy.removeBlock>,
  ): Promise<OutputOf<typeof bus.policy.removeBlock>> {
    const session = await this.#administrator(input, 'remove_block');
    const block = await inTransaction(this.parts.pool, async (client) => {
      await holdSession(client, session);
      const removed = await deleteBlock(client, session.organization, input.block_id, {
        asPlatform: holds(session, 'platform_administrator'),
      });
      if (removed === 'binding') {
        throw new MayflyError('policy_denied', 'only a platform administrator may remove this block');
      }
      if (removed !== undefined) {
        const event = blockEvent('block.removed', removed, { ...about(session, input), outcome: 'removed' });
        await appendToOutbox(client, 'policy', [event]);
      }
      return removed;
    });
    if (block === undefined) throw new MayflyError('not_found', 'No such block.');
    this.parts.relay.nudge();
    return { block: viewOf(block) };
  }

  /** Those in force, newest first. Throws `unauthenticated`, `policy_denied`. */
  async list(input: InputOf<typeof bus.policy.listBlocks>): Promise<OutputOf<typeof bus.policy.listBlocks>> {
    const session = await this.#administrator(input, 'list_blocks');
    const blocks = await listBlocks(this.parts.pool, session.organization, input.after, input.limit);
    const last = blocks.length === input.limit ? blocks.at(-1) : undefined;
    return { blocks: blocks.map(viewOf), ...(last === undefined ? {} : { next: last.id }) };
  }

  /** Only what names who asks can be about a person. Throws `unauthenticated` for an administrator whose session has ended. */
  async #endPeople(client: PoolClient, session: Session, subject: BlockSubject): Promise<Session[]> {
    const canBePerson = subject.kind !== 'credential' && subject.kind !== 'integration';
    if (canBePerson) await holdOpenings(client);
    await holdSession(client, session);
    return canBePerson ? endBlockedPeople(client, session.organization, subject) : [];
  }

  async #administrator(input: { token: string; source_ip: string }, action: string): Promise<Session> {
    const session = await this.parts.gate.liveSession(input.token);
    if (holds(session, 'administrator')) return session;
    const reason = 'only an administrator may block';
    await this.parts.signals.report(
      'request.denied',
      { ...about(session, input), reason, outcome: 'policy_denied', action_context: { action } },
      { subject: session.id },
    );
    throw new MayflyError('policy_denied', reason);
  }
}

/** An administrator who is blocked can't remove the block again. */
function isOwn(subject: BlockSubject, { id, agentId, user }: Session): boolean {
  const own = { session: id, agent: agentId, user, credential: undefined, integration: undefined };
  return own[subject.kind] === subject.id;
}

function about(session: Session, { source_ip }: { source_ip: string }): EventData {
  return { ...actorOf(session), source_ip };
}

function viewOf(block: StoredBlock): Block {
  return {
    block_id: block.id,
    subject: block.subject,
    reason: block.reason,
    added_by: block.addedBy,
    added_at: block.addedAt.toISOString(),
    ...(block.until === undefined ? {} : { until: block.until.toISOString() }),
  };
}
