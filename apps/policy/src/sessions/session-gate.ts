/**
 * Who calls: opens the sealed token, verifies it, and asks Postgres whether its session still lives. Nothing about
 * liveness is remembered, so an ended session is refused from the next call on.
 */
import { MayflyError, type SessionClaims } from '@mayfly/contracts';
import type { SealingKey, TokenVerifier } from '@mayfly/tokens';
import { trace } from '@opentelemetry/api';
import { describeWork, SpanAttribute } from '@mayfly/telemetry';
import type { Pool } from 'pg';
import { findLiveSession, noteHeard } from '../store/sessions.ts';
import type { Hearing } from './hearing.ts';
import type { Session } from './session.ts';

export class SessionGate {
  constructor(
    private readonly sealingKey: SealingKey,
    private readonly verifier: TokenVerifier<SessionClaims>,
    private readonly pool: Pool,
    private readonly hearing: Pick<Hearing, 'secondsAt'>,
  ) {}

  /** What was sealed to policy. Throws `unauthenticated`: whoever sealed it wrongly holds nothing that speaks for it. */
  async unseal(sealed: string): Promise<string> {
    try {
      return await this.sealingKey.open(sealed);
    } catch (error) {
      if (error instanceof MayflyError && error.code !== 'invalid_request') throw error;
      throw new MayflyError('unauthenticated', 'The token cannot be read.', { cause: error });
    }
  }

  /**
   * The session as its token says, by policy's own signature. It may have ended since: only for callers that check that
   * themselves, in the same transaction as what depends on it. Throws `unauthenticated`.
   */
  async readToken(sealed: string): Promise<Session> {
    const claims = await this.verifier.verify(await this.unseal(sealed), { now: new Date() });
    describeWork({ session_id: claims.sid, organization: claims.organization });
    trace.getActiveSpan()?.setAttribute(SpanAttribute.agentId, claims.sub);
    // Whatever it asks for, it is alive.
    if (claims.heartbeat_seconds !== undefined) {
      await noteHeard(this.pool, claims.sid, this.hearing.secondsAt(performance.now()));
    }
    return {
      id: claims.sid,
      organization: claims.organization,
      agentId: claims.sub,
      kind: claims.kind,
      ...(claims.agent_role === undefined ? {} : { agentRole: claims.agent_role }),
      personRoles: claims.person_roles ?? [],
      ...(claims.user === undefined ? {} : { user: claims.user }),
      ...(claims.task === undefined ? {} : { task: claims.task }),
      ...(claims.recipient_key === undefined ? {} : { recipientKey: claims.recipient_key }),
      expiresAt: new Date(claims.exp * 1000),
    };
  }

  /** The session as Postgres has it now. Throws `unauthenticated`, also for one that has ended or is unknown. */
  async liveSession(sealed: string): Promise<Session> {
    return this.stillLive(await this.readToken(sealed));
  }

  /** For a session whose token was read before. Throws `unauthenticated`. */
  async stillLive(session: Session): Promise<Session> {
    const live = await findLiveSession(this.pool, session.id);
    if (live?.organization !== session.organization) throw sessionEnded();
    return live;
  }
}

/** The same words whether it ended, expired or never was. */
export function sessionEnded(): MayflyError {
  return new MayflyError('unauthenticated', 'The session has ended.');
}
