-- Whoever verifies the log reads the tables and not the views, which somebody might have changed. There is nothing in them that the
-- views don't show. The list of migrations tells by which version of Mayfly the log was made.
GRANT SELECT ON audit.event_log, audit.checkpoint, audit.chain_head, audit.migrations TO mayfly_auditor;
