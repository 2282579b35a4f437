/** Who asks, and for what: from policy's signature alone. */
import { MayflyError, type Act, type AssertionClaims } from '@mayfly/contracts';
import { describeWork } from '@mayfly/telemetry';
import type { TokenVerifier } from '@mayfly/tokens';

type ActOf<Action extends Act['action']> = Extract<Act, { action: Action }>;

export interface Asker<Action extends Act['action']> {
  readonly organization: string;
  readonly sessionId: string;
  readonly agentId: string;
  readonly isAdministrator: boolean;
  /** Whether the whole installation is in reach, for what concerns every organization. */
  readonly isPlatformAdministrator: boolean;
  /** Whose leases are in reach: the asker's own, or undefined for an administrator, who reaches the organization's. */
  readonly onlyAgent: string | undefined;
  /** What was authorised; acted on are these values and no others. */
  readonly act: ActOf<Action>;
}

export class Askers {
  constructor(private readonly assertions: TokenVerifier<AssertionClaims>) {}

  /** Throws `unauthenticated` for an assertion that is not valid here, `policy_denied` for one of another act. */
  async identify<const Action extends Act['action']>(
    assertion: string,
    ...actions: readonly Action[]
  ): Promise<Asker<Action>> {
    const { actor, act, person_roles, kind } = await this.assertions.verify(assertion, { now: new Date() });
    if (!isOneOf(act, actions)) {
      throw new MayflyError('policy_denied', 'The assertion is for another act.');
    }
    describeWork({ ...act, organization: actor.organization });
    const isAdministrator = kind === 'person' && person_roles.includes('administrator');
    return {
      organization: actor.organization,
      sessionId: actor.session_id,
      agentId: actor.agent_id,
      isAdministrator,
      isPlatformAdministrator: kind === 'person' && person_roles.includes('platform_administrator'),
      onlyAgent: isAdministrator ? undefined : actor.agent_id,
      act,
    };
  }
}

function isOneOf<Action extends Act['action']>(act: Act, actions: readonly Action[]): act is ActOf<Action> {
  return (actions as readonly string[]).includes(act.action);
}

/** I5: what is not there and what is another's get the same answer. */
export function notFound(): MayflyError {
  return new MayflyError('not_found', 'No such lease.');
}
