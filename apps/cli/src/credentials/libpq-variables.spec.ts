import { describe, expect, it } from '@jest/globals';
import {
  inheritedLibpqVariables,
  misleadingLibpqVariables,
  replacedLibpqVariables,
} from './libpq-variables.ts';

/** As PostgreSQL 18 documents them (libpq, "Environment Variables"), and those of older releases that 13 still reads. */
const documented = `PGHOST PGSSLNEGOTIATION PGHOSTADDR PGPORT PGDATABASE PGUSER PGPASSWORD PGPASSFILE PGREQUIREAUTH PGCHANNELBINDING PGSERVICE
  PGSERVICEFILE PGOPTIONS PGAPPNAME PGSSLMODE PGREQUIRESSL PGSSLCOMPRESSION PGSSLCERT PGSSLKEY PGSSLCERTMODE PGSSLROOTCERT PGSSLCRL
  PGSSLCRLDIR PGSSLSNI PGREQUIREPEER PGSSLMINPROTOCOLVERSION PGSSLMAXPROTOCOLVERSION PGGSSENCMODE PGKRBSRVNAME PGGSSLIB
  PGGSSDELEGATION PGCONNECT_TIMEOUT PGCLIENTENCODING PGTARGETSESSIONATTRS PGLOADBALANCEHOSTS PGMINPROTOCOLVERSION
  PGMAXPROTOCOLVERSION PGDATESTYLE PGTZ PGGEQO PGSYSCONFDIR PGLOCALEDIR PGAUTHTYPE PGTTY PGREALM`;

describe("libpq's variables", () => {
  it('are each decided about, once', () => {
    const decided = [...misleadingLibpqVariables, ...replacedLibpqVariables, ...inheritedLibpqVariables];
    expect([...decided].sort()).toEqual(documented.split(/\s+/).sort());
  });
});
