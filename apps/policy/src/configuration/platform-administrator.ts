/** The whole configuration spans organizations, so it takes a platform administrator to see or change it (I11). */
import { MayflyError, type EventData } from '@mayfly/contracts';
import { holds } from '../authorization/authorize-act.ts';
import type { SignalReporter } from '../reporting/events.ts';
import type { Session } from '../sessions/session.ts';

/** Throws `policy_denied`, and reports it. */
export async function requirePlatformAdministrator(
  session: Session,
  action: string,
  about: EventData,
  signals: SignalReporter,
): Promise<void> {
  if (holds(session, 'platform_administrator')) return;
  const reason = 'only a platform administrator may see or change the configuration';
  await signals.report(
    'request.denied',
    { ...about, reason, outcome: 'policy_denied', action_context: { action } },
    { subject: session.id },
  );
  throw new MayflyError('policy_denied', reason);
}
