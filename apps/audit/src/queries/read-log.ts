/** What auditors and administrators may read over the API. Policy's assertion says who asks; this says what they see. */
import { MayflyError, type AssertionClaims, type bus, type OutputOf } from '@mayfly/contracts';
import { asDependencyError } from '@mayfly/postgres';
import { describeWork } from '@mayfly/telemetry';
import type { TokenVerifier } from '@mayfly/tokens';
import type { Pool } from 'pg';
import { findLifecycle } from '../store/lease-lifecycle.ts';
import { findEvents, findEventsOfLease, type EventFilters } from '../store/query-events.ts';

export class ReadLog {
  constructor(
    private readonly pool: Pool,
    private readonly assertions: TokenVerifier<AssertionClaims>,
  ) {}

  async events(assertion: string, filters: EventFilters): Promise<OutputOf<typeof bus.audit.queryEvents>> {
    const organization = await this.#organizationOfReader(assertion);
    const events = await findEvents(this.pool, organization, filters).catch(rethrow);
    const last = events.at(-1);
    // A page that was cut to fit one message is shorter than asked for, so only an empty one is surely the last.
    return { events, ...(last === undefined ? {} : { next: last.seq }) };
  }

  async timeline(assertion: string, leaseId: string): Promise<OutputOf<typeof bus.audit.leaseTimeline>> {
    const organization = await this.#organizationOfReader(assertion);
    const [lease, events] = await Promise.all([
      findLifecycle(this.pool, organization, leaseId),
      findEventsOfLease(this.pool, organization, leaseId),
    ]).catch(rethrow);
    if (lease === undefined) throw new MayflyError('not_found', 'there is no such lease in the audit log');
    return { lease, events };
  }

  /** Checked here again: whoever reads the log must be an auditor or administrator, whatever policy would sign. */
  async #organizationOfReader(assertion: string): Promise<string> {
    const { act, kind, person_roles, actor } = await this.assertions.verify(assertion, { now: new Date() });
    describeWork(actor);
    const reads = person_roles.includes('auditor') || person_roles.includes('administrator');
    if (act.action !== 'read_audit' || kind !== 'person' || !reads) {
      throw new MayflyError('policy_denied', 'the audit log is for auditors and administrators');
    }
    return actor.organization;
  }
}

/** Postgres away is told as such: the asker may try again. */
function rethrow(error: unknown): never {
  throw asDependencyError(error);
}
