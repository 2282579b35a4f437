/** Reads the log for the API. An organization sees its own events only (I5). */
import type { AuditEvent, InputOf, bus } from '@mayfly/contracts';
import type { Pool } from 'pg';

export type EventFilters = Omit<InputOf<typeof bus.audit.queryEvents>, 'assertion'>;

const columns = `seq::int8 AS seq, id, time, type, organization, lease_id, agent_id, credential, outcome, reason, trace_id, event_trace_id, data`;

/** One statement for every combination of filters: what is not given does not restrict. */
const matching = `
  SELECT ${columns} FROM audit.events
  WHERE organization = $1
    AND seq > $2
    AND ($3::uuid IS NULL OR lease_id = $3)
    AND ($4::text IS NULL OR agent_id = $4)
    AND ($5::text IS NULL OR trace_id = $5 OR (event_trace_id = $5 AND event_trace_id <> trace_id))
    AND ($6::uuid IS NULL OR session_id = $6)
    AND ($7::text IS NULL OR type = $7)
    AND ($8::timestamptz IS NULL OR time >= $8)
    AND ($9::timestamptz IS NULL OR time < $9)
  ORDER BY seq LIMIT $10`;

/** Uses may be many: what began and ended the lease comes first, and then as many uses as there is room for. */
const ofLease = `
  SELECT ${columns} FROM audit.events WHERE organization = $1 AND lease_id = $2
  ORDER BY (type = 'credential.used'), seq LIMIT $3`;

/** A bus message holds 1 MiB; this leaves room for the envelope. */
const maxAnswerBytes = 786_432;
const timelineLimit = 1_000;

interface EventRow {
  seq: string;
  id: string;
  time: Date;
  type: string;
  organization: string | null;
  lease_id: string | null;
  agent_id: string | null;
  credential: string | null;
  outcome: string | null;
  reason: string | null;
  trace_id: string | null;
  event_trace_id: string | null;
  data: AuditEvent['data'];
}

/** Events of an organization that match, oldest first. */
export async function findEvents(
  pool: Pool,
  organization: string,
  filters: EventFilters,
): Promise<AuditEvent[]> {
  // Not a named statement: a plan for all combinations would use no index for any of them.
  const { rows } = await pool.query<EventRow>(matching, [
    organization,
    filters.after ?? 0,
    filters.lease_id,
    filters.agent_id,
    filters.trace_id,
    filters.session_id,
    filters.type,
    filters.since,
    filters.until,
    filters.limit,
  ]);
  return withinOneMessage(rows.map(toEvent));
}

/** The events of a lease, oldest first. */
export async function findEventsOfLease(
  pool: Pool,
  organization: string,
  leaseId: string,
): Promise<AuditEvent[]> {
  const { rows } = await pool.query<EventRow>({
    name: 'events-of-lease',
    text: ofLease,
    values: [organization, leaseId, timelineLimit],
  });
  return withinOneMessage(rows.map(toEvent)).sort((a, b) => a.seq - b.seq);
}

/** As many as one bus message holds; the first always. */
function withinOneMessage(events: AuditEvent[]): AuditEvent[] {
  let bytes = 0;
  const end = events.findIndex(
    (event, index) => (bytes += Buffer.byteLength(JSON.stringify(event))) > maxAnswerBytes && index > 0,
  );
  return end === -1 ? events : events.slice(0, end);
}

function toEvent({ seq, time, ...row }: EventRow): AuditEvent {
  const present = Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null));
  return { ...(present as Omit<AuditEvent, 'seq' | 'time'>), seq: Number(seq), time: time.toISOString() };
}
