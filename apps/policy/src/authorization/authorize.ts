/** Turns a session token into an assertion of one act. */
import { MayflyError, type AssertionClaims, type InputOf, type OutputOf, type bus } from '@mayfly/contracts';
import type { TokenSigner } from '@mayfly/tokens';
import type { SignalReporter } from '../reporting/events.ts';
import type { SessionGate } from '../sessions/session-gate.ts';
import { actorOf } from '../sessions/session.ts';
import type { Pool } from 'pg';
import type { RunningConfiguration } from '../configuration/running-configuration.ts';
import { authorizeAct } from './authorize-act.ts';
import { ownOrganization, requireKnownSubject } from './known-subject.ts';
import { signAssertion } from './sign-assertion.ts';

export interface AuthorizeParts {
  readonly gate: SessionGate;
  readonly assertions: TokenSigner<AssertionClaims>;
  readonly signals: SignalReporter;
  readonly running: Pick<RunningConfiguration, 'isLoaded' | 'current' | 'refresh'>;
  readonly pool: Pool;
}

export class Authorize {
  constructor(private readonly parts: AuthorizeParts) {}

  /** Throws `unauthenticated`, `policy_denied`, or `invalid_request` for a subject that can't be. */
  async run(input: InputOf<typeof bus.policy.authorize>): Promise<OutputOf<typeof bus.policy.authorize>> {
    const session = await this.parts.gate.liveSession(input.token);
    const act =
      input.act.action === 'revoke'
        ? { ...input.act, subject: ownOrganization(input.act.subject, session.organization) }
        : input.act;
    const authorization = authorizeAct(session, act);
    if (authorization.outcome === 'denied') {
      await this.parts.signals.report(
        'request.denied',
        {
          ...actorOf(session),
          source_ip: input.source_ip,
          reason: authorization.reason,
          outcome: 'policy_denied',
          action_context: { action: act.action },
        },
        { subject: session.id },
      );
      throw new MayflyError('policy_denied', authorization.reason);
    }
    if (act.action === 'revoke') {
      await requireKnownSubject(act.subject, session.organization, this.parts.running, this.parts.pool);
    }
    const { audience } = authorization;
    return { assertion: await signAssertion(this.parts.assertions, session, act, { audience }) };
  }
}
