/** What whoever operates Mayfly is told of the connections of a server: figures at any time, and a sentence when one is worth it. */

/** Of a server at which leases of an integration live. */
export interface ServerConnections {
  readonly organization: string;
  readonly integration: string;
  /** Whether the connection is there that is kept for ends. */
  readonly isKept: boolean;
  /** Absent while the server has not been asked, or not for some minutes. */
  readonly capacity?: Capacity;
}

/** Connections of one server, of whatever database and integration. */
export interface Capacity {
  /** Those that all leases there together may take, by the limits of their roles. */
  readonly leases: number;
  /** Those that there are for all but superusers and members of `pg_use_reserved_connections`. */
  readonly available: number;
}

/** A server that keeps connections free of which Mayfly makes no use. */
export interface ReservedUnused {
  readonly organization: string;
  readonly integration: string;
  /** `reserved_connections` */
  readonly reserved: number;
  /** The statement that changes it. */
  readonly grant: string;
}

export interface ConnectionObserver {
  /** Told once; `read` may be called at any time, and asks no server. */
  watch(read: () => readonly ServerConnections[]): void;
  /** Told once for each server and privileged role. */
  reservedUnused(found: ReservedUnused): void;
}
