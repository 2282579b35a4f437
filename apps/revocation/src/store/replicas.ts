/** Which replicas of this service live, and so whose claims on leases count. Why so: `migrations/0010_replicas.sql`. */
import type { ClientBase, QueryConfig, QueryResult, QueryResultRow } from 'pg';
import type { Lease } from './lease.ts';

/** A lease and the number of the claim under which it is worked on. */
export type Claim = Pick<Lease, 'leaseId' | 'claims'>;

/** SQL: the longest that a living replica keeps a lease, so that work that never ends holds none for ever. */
export const longestClaim = "interval '5 minutes'";

/** SQL: the ids of all replicas that live, as an array; read once for a statement. */
export const livingReplicas = 'ARRAY(SELECT r.replica_id FROM revocation.replicas r)';

/** SQL: nobody who lives has claimed the lease. @param lease What its row is called in the statement. */
export function isFree(lease: string): string {
  return `(${lease}.claimed_until IS NULL OR ${lease}.claimed_until <= now() OR ${lease}.claimed_by <> ALL (${livingReplicas}))`;
}

/** The connection that a replica keeps. */
export interface KeptConnection {
  query<Row extends QueryResultRow>(query: QueryConfig): Promise<QueryResult<Row>>;
}

/** Has every statement over a connection fail when it is not answered in time. The connection is of no use afterwards. */
export function answering(client: ClientBase, withinMs: number): KeptConnection {
  return {
    query: (query) => {
      // Known to pg, but not to its types.
      const limited: QueryConfig & { query_timeout: number } = { ...query, query_timeout: withinMs };
      return client.query(limited);
    },
  };
}

export interface Joining {
  /** A new one each time. */
  readonly replicaId: string;
  /** What it was before. That row goes, and with it the claims that were made for this replica without its knowing. */
  readonly previousId: string;
  /** What it has in hand goes on under the new id, but for leases that another has claimed since. */
  readonly inHand: readonly Claim[];
}

/** Enters a replica among those that live, known by the connection that this runs over. */
export async function joinReplicas(client: Pick<ClientBase, 'query'>, joining: Joining): Promise<void> {
  const { rowCount } = await client.query({
    name: 'join_replicas',
    // Waits for nobody: a lease that is being written at this moment is passed over, and the claim on it is void.
    text: `
      WITH told AS (SELECT * FROM unnest($3::uuid[], $4::integer[]) AS t (lease_id, claims)),
      held AS MATERIALIZED (
        SELECT l.lease_id FROM told t JOIN revocation.leases l ON l.lease_id = t.lease_id
        WHERE l.claims = t.claims AND l.claimed_until IS NOT NULL
        ORDER BY l.lease_id FOR NO KEY UPDATE OF l SKIP LOCKED),
      kept AS (
        UPDATE revocation.leases l SET claimed_by = $1::uuid FROM held WHERE l.lease_id = held.lease_id),
      previous AS (
        DELETE FROM revocation.replicas r WHERE r.replica_id = $2::uuid)
      INSERT INTO revocation.replicas (replica_id, backend_pid, backend_start)
      SELECT $1::uuid, a.pid, a.backend_start FROM pg_stat_activity a WHERE a.pid = pg_backend_pid()`,
    values: [
      joining.replicaId,
      joining.previousId,
      joining.inHand.map(({ leaseId }) => leaseId),
      joining.inHand.map(({ claims }) => claims),
    ],
  });
  if (rowCount !== 1) throw new Error('Postgres does not show a connection itself in pg_stat_activity');
}

/** Lets the others hear of a replica. False when it is not among the living any more. */
export async function beat(connection: KeptConnection, replicaId: string): Promise<boolean> {
  const { rowCount } = await connection.query({
    name: 'beat',
    text: 'UPDATE revocation.replicas SET heartbeat_at = clock_timestamp() WHERE replica_id = $1',
    values: [replicaId],
  });
  return rowCount === 1;
}

export interface DeadReplica {
  readonly replicaId: string;
  /** Whether its connection is still there. Then it is silent only: its machine is gone, or it is paused, or very slow. */
  readonly isConnected: boolean;
  /** Since it was last heard of, in milliseconds. */
  readonly silentForMs: number;
}

// Postgres does not show when a connection of another role began; then its process id has to do.
const isConnected = `EXISTS (
          SELECT FROM pg_stat_activity a
          WHERE a.pid = r.backend_pid AND coalesce(a.backend_start, r.backend_start) = r.backend_start)`;

/**
 * Removes the others that are dead, and answers which: those whose connection is gone, and those that have been silent for more than
 * `silentMs`, if that is told. Waits for nobody: whose row is locked is beating at this moment, or is
 * being removed by another.
 */
export async function removeDeadReplicas(
  connection: KeptConnection,
  replicaId: string,
  silentMs: number | undefined,
): Promise<DeadReplica[]> {
  const { rows } = await connection.query<{ replica_id: string; is_connected: boolean; silent_for: number }>({
    name: 'remove_dead_replicas',
    text: `
      WITH dead AS MATERIALIZED (
        SELECT r.replica_id, ${isConnected} AS is_connected FROM revocation.replicas r
        WHERE r.replica_id <> $1
          AND (r.heartbeat_at < clock_timestamp() - $2::double precision * interval '1 millisecond' OR NOT ${isConnected})
        FOR UPDATE OF r SKIP LOCKED)
      DELETE FROM revocation.replicas r USING dead WHERE r.replica_id = dead.replica_id
      RETURNING r.replica_id, dead.is_connected,
        (extract(epoch FROM clock_timestamp() - r.heartbeat_at) * 1000)::double precision AS silent_for`,
    values: [replicaId, silentMs],
  });
  return rows.map((row) => ({
    replicaId: row.replica_id,
    isConnected: row.is_connected,
    silentForMs: Math.round(row.silent_for),
  }));
}

/** Removes a replica that stops: what it leaves unfinished is anyone's at once. */
export async function leaveReplicas(connection: KeptConnection, replicaId: string): Promise<void> {
  await connection.query({
    name: 'leave_replicas',
    text: 'DELETE FROM revocation.replicas WHERE replica_id = $1',
    values: [replicaId],
  });
}
