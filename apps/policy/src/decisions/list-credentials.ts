/** What a session may ask for: the credentials that policy would permit it now, with their bounds. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { bus, CredentialListing, InputOf, OutputOf } from '@mayfly/contracts';
import type { CredentialConfig } from '@mayfly/configuration';
import type { RunningConfiguration, RunningVersion } from '../configuration/running-configuration.ts';
import type { SessionGate } from '../sessions/session-gate.ts';
import type { Session } from '../sessions/session.ts';
import { renewalOf } from './renewal-terms.ts';

/** Most credentials in one answer, which has to fit into one message of the bus (1 MiB). */
const mostListed = 1_000;
/** Decisions made in one go before other calls get their turn. */
const decisionsPerTurn = 20;

export class ListCredentials {
  constructor(
    private readonly parts: { readonly gate: SessionGate; readonly running: RunningConfiguration },
  ) {}

  /** Throws `unauthenticated`. People may ask for nothing, so their list is empty. */
  async run(
    input: InputOf<typeof bus.policy.listCredentials>,
  ): Promise<OutputOf<typeof bus.policy.listCredentials>> {
    const session = await this.parts.gate.liveSession(input.token);
    const running = this.parts.running.current();
    const credentials: CredentialListing[] = [];
    if (session.kind !== 'agent') return { credentials };
    let decided = 0;
    for (const credential of running.configuration.credentialsOf(session.organization)) {
      if (credentials.length === mostListed) break;
      decided += 1;
      if (decided % decisionsPerTurn === 0) await nextTurn();
      if (mayAsk(session, credential, running, input.source_ip)) credentials.push(listingOf(credential));
    }
    return { credentials };
  }
}

/** Asked as for the default TTL, without justification. */
function mayAsk(
  session: Session,
  credential: CredentialConfig,
  { evaluator }: RunningVersion,
  sourceIp: string,
): boolean {
  const { decision } = evaluator.evaluate({
    organization: session.organization,
    agentId: session.agentId,
    kind: session.kind,
    ...(session.agentRole === undefined ? {} : { agentRole: session.agentRole }),
    ...(session.user === undefined ? {} : { user: session.user }),
    ...(session.task === undefined ? {} : { task: session.task }),
    credential,
    context: {
      source_ip: sourceIp,
      ttl_seconds: credential.ttl.defaultSeconds,
      justification_given: false,
    },
  });
  return decision === 'allow';
}

function listingOf(credential: CredentialConfig): CredentialListing {
  const { perSession, concurrent } = credential.limits;
  return {
    credential: credential.name,
    provider: credential.provider,
    ...(credential.description === undefined ? {} : { description: credential.description }),
    scope: credential.scope,
    ttl: { default_seconds: credential.ttl.defaultSeconds, max_seconds: credential.ttl.maxSeconds },
    ...(credential.nativeMinimumSeconds === undefined
      ? {}
      : { native_minimum_seconds: credential.nativeMinimumSeconds }),
    limits: {
      ...(perSession === undefined ? {} : { per_session: perSession }),
      ...(concurrent === undefined ? {} : { concurrent }),
    },
    revocability: credential.revocability,
    renewable: credential.renewal !== undefined,
    ...renewalOf(credential),
    writes: credential.writes,
    approval: credential.approval,
  };
}
