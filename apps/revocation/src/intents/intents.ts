/** Reads `credential.intended` into facts of a lease. */
import type { EventData, MayflyEvent } from '@mayfly/contracts';
import type { Delivery } from '@mayfly/messaging';
import { failpoint } from '@mayfly/service';
import type { Pool } from 'pg';
import type { LeaseFacts } from '../store/lease.ts';
import { recordIntents, type Intent } from '../store/intents.ts';

export class Intents {
  constructor(
    private readonly pool: Pool,
    private readonly orphanAfterMs: number,
  ) {}

  /** Writes them all down in one statement; what is no intent is rejected and kept as a dead letter. */
  async record(deliveries: readonly Pick<Delivery, 'event' | 'reject'>[]): Promise<void> {
    const intents: Intent[] = [];
    for (const { event, reject } of deliveries) {
      const facts = intendedFacts(event);
      if (typeof facts === 'string') reject(facts);
      else intents.push({ facts, toldAt: event.time });
    }
    failpoint('revocation.intent.before');
    if (intents.length > 0) await recordIntents(this.pool, intents, this.orphanAfterMs);
    failpoint('revocation.intent.committed');
  }
}

const needed = [
  'organization',
  'lease_id',
  'session_id',
  'agent_id',
  'credential',
  'provider',
  'ttl_seconds',
  'config_version',
] as const satisfies (keyof EventData)[];
type Needed = { [Field in (typeof needed)[number]]: NonNullable<EventData[Field]> };

/** The facts, or what is missing. They are minting's word; an activation replaces them by what the grant says. */
export function intendedFacts({ data, traceparent }: MayflyEvent): LeaseFacts | string {
  const missing = needed.filter((field) => data[field] === undefined);
  if (missing.length > 0) return `the intent lacks ${missing.join(', ')}`;
  if (traceparent === undefined) return 'the intent lacks traceparent';
  const known = data as Needed;
  return {
    leaseId: known.lease_id,
    organization: known.organization,
    sessionId: known.session_id,
    ...(data.parent_session_id !== undefined && { parentSessionId: data.parent_session_id }),
    agentId: known.agent_id,
    ...(data.agent_role !== undefined && { agentRole: data.agent_role }),
    ...(data.user !== undefined && { user: data.user }),
    ...(data.task !== undefined && { task: data.task }),
    ...(data.claimed_task !== undefined && { claimedTask: data.claimed_task }),
    credential: known.credential,
    integration: data.integration ?? known.credential.split('/', 1).join(''),
    provider: known.provider,
    scope: data.scope ?? {},
    ttlSeconds: known.ttl_seconds,
    configVersion: known.config_version,
    issuanceTraceparent: traceparent,
  };
}
