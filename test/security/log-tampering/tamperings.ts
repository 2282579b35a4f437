/**
 * Ways to hide or change what a query of the audit log returns, for somebody who has every right in Postgres, and what the verification
 * is to say. Each is SQL of a superuser in a copy of a real log; `query` is an auditor's, and its answer shows that the way works.
 */

export interface Victim {
  /** A lease of the log, its agent, and the position of its first event. */
  readonly lease: string;
  readonly agent: string;
  readonly seq: number;
  /** The last position. */
  readonly end: number;
  /** The partition that holds the log. */
  readonly partition: string;
}

export interface Tampering {
  readonly way: string;
  readonly kind:
    | 'columns'
    | 'expressions'
    | 'views'
    | 'functions'
    | 'triggers'
    | 'partitions'
    | 'search path'
    | 'rights'
    | 'rows'
    | 'indexes'
    | 'checkpoints';
  readonly statements: (victim: Victim) => readonly string[];
  /** What an auditor asks; the answer differs once it is done. Left out where only what comes later is concerned. */
  readonly query?: (victim: Victim) => string;
  readonly finds: (victim: Victim) => object;
}

/** Without triggers, and with all caches of what was changed in the catalogs told. */
const quietly = (...statements: readonly string[]) => [
  'SET session_replication_role = replica',
  ...statements,
  'RESET session_replication_role',
];

/** A change of a view's text: `CREATE OR REPLACE` with what it says now, and more. */
const addToView = (view: string, condition: string) =>
  `DO $do$ BEGIN EXECUTE 'CREATE OR REPLACE VIEW audit.${view} AS ' || rtrim(pg_get_viewdef('audit.${view}'::regclass), ';') || $q$ ${condition}$q$; END $do$`;

const ofLease = ({ lease }: Victim) => `SELECT count(*) FROM events WHERE lease_id = '${lease}'`;
const ofAgent = ({ agent }: Victim) => `SELECT count(*) FROM events WHERE agent_id = '${agent}'`;

/** Makes computed columns plain for the statements in between, and computed again. */
const asPlainColumns = (...statements: readonly string[]) =>
  quietly(
    `UPDATE pg_attribute SET attgenerated = '' WHERE attgenerated = 's' AND attrelid IN (SELECT oid FROM pg_class WHERE relname LIKE 'event_log%')`,
    ...statements,
    `UPDATE pg_attribute AS a SET attgenerated = 's' FROM pg_attrdef AS d, pg_class AS c
     WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND c.oid = a.attrelid AND c.relname LIKE 'event_log%'`,
  );

export const tamperings: readonly Tampering[] = [
  {
    way: 'a computed column is made a plain one and emptied',
    kind: 'columns',
    statements: ({ lease }) =>
      quietly(
        'ALTER TABLE audit.event_log ALTER COLUMN lease_id DROP EXPRESSION',
        `UPDATE audit.event_log SET lease_id = NULL WHERE lease_id = '${lease}'`,
      ),
    query: ofLease,
    finds: ({ seq }) => ({ problem: 'changed', seq, differences: [{ property: 'lease_id', found: null }] }),
  },
  {
    way: 'a computed column is changed, and its expression is back in its place',
    kind: 'columns',
    statements: ({ agent }) =>
      asPlainColumns(
        `UPDATE audit.event_log SET agent_id = 'spiffe://acme.example/agent/x/y/z' WHERE agent_id = '${agent}'`,
      ),
    query: ofAgent,
    finds: ({ agent }) => ({ problem: 'changed', differences: [{ property: 'agent_id', expected: agent }] }),
  },
  {
    way: 'the time of an event is moved by a microsecond',
    kind: 'columns',
    statements: ({ seq }) =>
      quietly(`UPDATE audit.event_log SET time = time + interval '1 microsecond' WHERE seq = ${seq}`),
    query: ({ seq }) => `SELECT time::text FROM events WHERE seq = ${seq}`,
    finds: ({ seq }) => ({ problem: 'changed', seq, differences: [{ property: 'time' }] }),
  },
  {
    way: 'a number in an event gets digits that its hash does not see',
    kind: 'columns',
    statements: ({ seq }) =>
      quietly(
        `UPDATE audit.event_log SET event = jsonb_set(event, '{data,config_version}', ((event -> 'data' ->> 'config_version') || '.0')::jsonb) WHERE seq = ${seq}`,
      ),
    query: ({ seq }) => `SELECT data ->> 'config_version' FROM events WHERE seq = ${seq}`,
    finds: ({ seq }) => ({ problem: 'changed', seq, differences: [{ property: 'event' }] }),
  },
  {
    way: 'a computed column gets another expression',
    kind: 'expressions',
    statements: () => [
      'ALTER TABLE audit.event_log ALTER COLUMN organization DROP EXPRESSION',
      'ALTER TABLE audit.event_log ALTER COLUMN organization SET DEFAULT NULL',
    ],
    finds: () => ({ problem: 'definition', object: 'column audit.event_log.organization' }),
  },
  {
    way: 'a view leaves out an agent',
    kind: 'views',
    statements: ({ agent }) => [addToView('events', `WHERE event_log.agent_id <> '${agent}'`)],
    query: ofAgent,
    finds: () => ({ problem: 'definition', object: 'view audit.events' }),
  },
  {
    way: 'a view of leases leaves out an agent',
    kind: 'views',
    statements: ({ agent }) => [addToView('live_credentials', `AND agent_id <> '${agent}'`)],
    finds: () => ({ problem: 'definition', object: 'view audit.live_credentials' }),
  },
  {
    way: 'a view is replaced by a table',
    kind: 'views',
    statements: () => [
      'ALTER VIEW audit.chain_end RENAME TO was',
      'CREATE TABLE audit.chain_end AS SELECT seq - 1 AS seq, hash FROM audit.was',
      'DROP VIEW audit.was',
      'ALTER TABLE audit.chain_end OWNER TO mayfly_audit',
      'GRANT SELECT ON audit.chain_end TO mayfly_auditor',
    ],
    query: () => 'SELECT seq FROM chain_end',
    finds: () => ({ problem: 'definition', object: 'view audit.chain_end' }),
  },
  {
    way: 'a rule lets changes of the log come to nothing that is told',
    kind: 'views',
    statements: () => ['CREATE RULE quiet AS ON INSERT TO audit.event_log DO INSTEAD NOTHING'],
    finds: () => ({ problem: 'definition', object: 'rule quiet on audit.event_log' }),
  },
  {
    way: 'a function tells the writer that it knows every event already',
    kind: 'functions',
    statements: () => [
      `CREATE OR REPLACE FUNCTION audit.known_events(ids uuid[], times timestamptz[]) RETURNS SETOF uuid LANGUAGE sql STABLE
       SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS 'SELECT unnest(ids)'`,
    ],
    finds: () => ({
      problem: 'definition',
      object: 'function audit.known_events(uuid[],timestamp with time zone[])',
    }),
  },
  {
    way: 'queries find an aggregate of the schema before that of PostgreSQL',
    kind: 'functions',
    statements: () => [
      `CREATE AGGREGATE audit.count(text) (sfunc = 'audit_nothing', stype = int8, initcond = '0')`,
    ],
    query: () => 'SELECT count(agent_id) FROM events',
    finds: () => ({ problem: 'definition', object: 'function audit.count(text)' }),
  },
  {
    way: 'an operator of PostgreSQL is led to another function',
    kind: 'functions',
    statements: () => [`UPDATE pg_operator SET oprcode = 'uuid_ne' WHERE oid = '=(uuid,uuid)'::regoperator`],
    query: ofLease,
    finds: () => ({ problem: 'definition', object: 'operator = of uuid and uuid' }),
  },
  {
    way: 'a trigger drops events before they are written',
    kind: 'triggers',
    statements: () => [
      `CREATE FUNCTION public.drop_it() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'`,
      'CREATE TRIGGER drop_it BEFORE INSERT ON audit.event_log FOR EACH ROW EXECUTE FUNCTION public.drop_it()',
    ],
    finds: () => ({ problem: 'definition', object: 'trigger drop_it on audit.event_log' }),
  },
  {
    way: 'the trigger that refuses changes is switched off',
    kind: 'triggers',
    statements: () => ['ALTER TABLE audit.event_log DISABLE TRIGGER append_only'],
    finds: () => ({ problem: 'definition', object: 'trigger append_only on audit.event_log' }),
  },
  {
    way: 'an event trigger waits for statements',
    kind: 'triggers',
    statements: () => [
      `CREATE FUNCTION public.waits() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'`,
      'CREATE EVENT TRIGGER waits ON ddl_command_end EXECUTE FUNCTION public.waits()',
    ],
    finds: () => ({ problem: 'definition', object: 'event trigger waits' }),
  },
  {
    way: 'the partition that holds the rows is taken out',
    kind: 'partitions',
    statements: ({ partition }) => [
      `ALTER TABLE audit.event_log DETACH PARTITION audit.${partition}`,
      `ALTER TABLE audit.${partition} SET SCHEMA public`,
    ],
    query: ({ end }) => `SELECT count(*) FROM events WHERE seq <= ${end}`,
    finds: () => ({ problem: 'truncated', seq: 1 }),
  },
  {
    way: 'the partition that holds the rows is told to be that of another month',
    kind: 'partitions',
    statements: ({ partition }) => [
      `ALTER TABLE audit.event_log DETACH PARTITION audit.${partition}`,
      `ALTER TABLE audit.${partition} RENAME TO event_log_2031_05`,
      `ALTER TABLE audit.event_log_2031_05 RENAME CONSTRAINT ${partition}_pkey TO event_log_2031_05_pkey`,
      `ALTER TABLE audit.event_log_2031_05 ADD CONSTRAINT sure CHECK (time IS NOT NULL AND time >= '2031-05-01 00:00:00+00' AND time < '2031-06-01 00:00:00+00') NOT VALID`,
      // What it proves is believed, and no row is looked at.
      `UPDATE pg_constraint SET convalidated = true WHERE conname = 'sure'`,
      `ALTER TABLE audit.event_log ATTACH PARTITION audit.event_log_2031_05 FOR VALUES FROM ('2031-05-01 00:00:00+00') TO ('2031-06-01 00:00:00+00')`,
      'ALTER TABLE audit.event_log_2031_05 DROP CONSTRAINT sure',
      'SET ROLE mayfly_audit',
      'SELECT audit.prepare_month(now()::date)',
    ],
    query: ({ lease }) =>
      `SELECT count(*) FROM events WHERE lease_id = '${lease}' AND time > now() - interval '1 day' AND time < now()`,
    finds: ({ seq }) => ({ problem: 'hidden', seq, object: 'table audit.event_log_2031_05' }),
  },
  {
    way: 'a table elsewhere adds rows by inheritance',
    kind: 'partitions',
    statements: () => [
      'CREATE TABLE public.more () INHERITS (audit.checkpoint)',
      `INSERT INTO public.more SELECT -1, hash, at, token FROM audit.checkpoint LIMIT 1`,
    ],
    query: () => 'SELECT count(*) FROM checkpoints',
    finds: () => ({
      problem: 'definition',
      object: 'table audit.checkpoint',
      differences: [{ property: 'children elsewhere' }],
    }),
  },
  {
    way: 'names of auditors lead to another schema first',
    kind: 'search path',
    statements: ({ agent }) => [
      'CREATE SCHEMA helpful',
      `CREATE VIEW helpful.events AS SELECT * FROM audit.events WHERE agent_id <> '${agent}'`,
      'GRANT USAGE ON SCHEMA helpful TO mayfly_auditor',
      'GRANT SELECT ON helpful.events TO mayfly_auditor',
      'ALTER ROLE mayfly_auditor IN DATABASE {database} SET search_path = helpful, audit',
    ],
    query: ofAgent,
    finds: () => ({ problem: 'setting', object: 'settings of mayfly_auditor in this database' }),
  },
  {
    way: 'days begin at another hour for whoever asks in this database',
    kind: 'search path',
    statements: () => [`ALTER DATABASE {database} SET timezone = 'Pacific/Kiritimati'`],
    query: ({ seq }) =>
      `SELECT time::date || ' ' || date_trunc('hour', time)::time FROM events WHERE seq = ${seq}`,
    finds: () => ({ problem: 'setting', object: 'settings of every role in this database' }),
  },
  {
    way: 'a policy for rows hides an agent',
    kind: 'rights',
    statements: ({ agent }) => [
      `CREATE POLICY discreet ON audit.event_log USING (agent_id <> '${agent}')`,
      'ALTER TABLE audit.event_log ENABLE ROW LEVEL SECURITY',
      'ALTER TABLE audit.event_log FORCE ROW LEVEL SECURITY',
    ],
    query: ofAgent,
    // What the policy would leave is not read: to read is refused.
    finds: () => ({ problem: 'definition', object: 'the log' }),
  },
  {
    way: 'a table that the verification reads is not there any more',
    kind: 'rights',
    statements: () => ['ALTER TABLE audit.migrations RENAME TO was'],
    finds: () => ({ problem: 'definition', object: 'the log' }),
  },
  {
    way: 'a policy for rows lies ready, and is not in force yet',
    kind: 'rights',
    statements: ({ agent }) => [`CREATE POLICY discreet ON audit.event_log USING (agent_id <> '${agent}')`],
    finds: () => ({ problem: 'definition', object: 'policy discreet on audit.event_log' }),
  },
  {
    way: 'auditors get the right to change the log',
    kind: 'rights',
    statements: () => ['GRANT DELETE ON audit.event_log TO mayfly_auditor'],
    finds: () => ({
      problem: 'definition',
      object: 'table audit.event_log',
      differences: [{ property: 'right of mayfly_auditor to DELETE' }],
    }),
  },
  {
    way: 'a view gets another owner, who sees less',
    kind: 'rights',
    statements: () => ['ALTER VIEW audit.denials OWNER TO postgres'],
    finds: () => ({
      problem: 'definition',
      object: 'view audit.denials',
      differences: [{ property: 'owner', expected: '{owner}' }],
    }),
  },
  {
    way: 'a trigger says that it belongs to a constraint',
    kind: 'triggers',
    statements: () =>
      quietly(
        `CREATE FUNCTION public.drop_row() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'`,
        'CREATE CONSTRAINT TRIGGER later AFTER INSERT ON audit.checkpoint FOR EACH ROW EXECUTE FUNCTION public.drop_row()',
      ),
    finds: () => ({ problem: 'definition', object: 'trigger later on audit.checkpoint' }),
  },
  {
    way: 'a trigger at log-ins says that it belongs to an extension',
    kind: 'triggers',
    statements: () => [
      `CREATE FUNCTION public.at_login() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN NULL; END'`,
      'CREATE EVENT TRIGGER at_login ON login EXECUTE FUNCTION public.at_login()',
      'ALTER EXTENSION plpgsql ADD EVENT TRIGGER at_login',
    ],
    finds: () => ({ problem: 'definition', object: 'event trigger at_login' }),
  },
  {
    way: 'an index leads from the keys of two rows to the other of them',
    kind: 'indexes',
    statements: ({ lease, partition }) => {
      const index = `'audit.${partition}_lease_id_type_idx'::regclass`;
      const swap = `UPDATE audit.event_log AS l SET lease_id = o.lease_id FROM swapped AS o WHERE l.seq = o.seq`;
      return asPlainColumns(
        `CREATE TEMP TABLE pair AS (SELECT seq, lease_id FROM audit.event_log WHERE lease_id = '${lease}' AND type = 'credential.intended')
         UNION ALL (SELECT seq, lease_id FROM audit.event_log WHERE lease_id <> '${lease}' AND type = 'credential.intended' LIMIT 1)`,
        'CREATE TEMP TABLE swapped AS SELECT a.seq, b.lease_id FROM pair AS a JOIN pair AS b ON a.seq <> b.seq',
        swap,
        `UPDATE pg_index SET indislive = false WHERE indexrelid = ${index}`,
        // The table's list of indexes is read anew after this.
        `UPDATE pg_class SET relhasindex = true WHERE oid = 'audit.${partition}'::regclass`,
        `UPDATE audit.event_log AS l SET lease_id = o.lease_id FROM pair AS o WHERE l.seq = o.seq`,
        `UPDATE pg_index SET indislive = true WHERE indexrelid = ${index}`,
        `UPDATE pg_class SET relhasindex = true WHERE oid = 'audit.${partition}'::regclass`,
      );
    },
    finds: () => ({ problem: 'hidden', object: 'index audit.event_log_lease' }),
  },
  {
    way: 'a row is forged at a position before the first',
    kind: 'rows',
    statements: ({ lease }) =>
      quietly(
        `INSERT INTO audit.event_log (seq, id, time, recorded_at, event, hash)
         SELECT -1, gen_random_uuid(), time, recorded_at, event, hash FROM audit.event_log WHERE lease_id = '${lease}' LIMIT 1`,
      ),
    query: ofLease,
    finds: () => ({ problem: 'hidden', object: 'table audit.event_log' }),
  },
  {
    way: 'an index lacks a row',
    kind: 'indexes',
    statements: ({ lease, partition }) =>
      quietly(
        `CREATE TEMP TABLE kept AS SELECT seq, id, time, recorded_at, event, hash FROM audit.event_log WHERE lease_id = '${lease}'`,
        `DELETE FROM audit.event_log WHERE lease_id = '${lease}'`,
        `UPDATE pg_index SET indisready = false, indisvalid = false WHERE indexrelid = 'audit.${partition}_lease_id_type_idx'::regclass`,
        'INSERT INTO audit.event_log (seq, id, time, recorded_at, event, hash) SELECT * FROM kept',
        `UPDATE pg_index SET indisready = true, indisvalid = true WHERE indexrelid = 'audit.${partition}_lease_id_type_idx'::regclass`,
      ),
    query: (victim) => `SET enable_seqscan = off; ${ofLease(victim)}`,
    finds: () => ({ problem: 'hidden', object: 'index audit.event_log_lease' }),
  },
  {
    way: 'a checkpoint is told with another time than was signed',
    kind: 'checkpoints',
    statements: () =>
      quietly(
        `UPDATE audit.checkpoint SET at = at + interval '1 millisecond' WHERE seq = (SELECT min(seq) FROM audit.checkpoint)`,
      ),
    query: () => 'SELECT min(at)::text FROM checkpoints',
    finds: () => ({ problem: 'changed', differences: [{ property: 'at' }] }),
  },
  {
    way: 'log and checkpoints are cut back together to what they once were',
    kind: 'checkpoints',
    statements: ({ end }) => {
      const to = `(SELECT max(seq) FROM audit.checkpoint WHERE seq < ${end - 3})`;
      return quietly(
        `UPDATE audit.chain_head SET seq = c.seq, hash = c.hash FROM audit.checkpoint AS c WHERE c.seq = ${to}`,
        'DELETE FROM audit.event_log WHERE seq > (SELECT seq FROM audit.chain_head)',
        'DELETE FROM audit.checkpoint WHERE seq > (SELECT seq FROM audit.chain_head)',
      );
    },
    query: () => 'SELECT count(*) FROM events',
    finds: () => ({ problem: 'truncated' }),
  },
];
