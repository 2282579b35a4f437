/**
 * What `mayfly exec` does with each environment variable that libpq reads (PostgreSQL 18: "Environment Variables"; older ones by
 * the documents of their releases). They were set for another connection: what would lead the child's one elsewhere, or say
 * something else than its lease, does not reach it. A lease sets its own in their place.
 */

/** Never inherited, not under a prefix either: a URL that a tool is given leaves these open, and libpq then takes them from here. */
export const misleadingLibpqVariables = [
  // Another server: an address and a service win over the host, a service file and its folder make services; options and SNI choose
  // one behind a proxy, and the last two leave servers out.
  ...['PGHOSTADDR', 'PGSERVICE', 'PGSERVICEFILE', 'PGSYSCONFDIR', 'PGOPTIONS', 'PGSSLSNI'],
  ...['PGTARGETSESSIONATTRS', 'PGLOADBALANCEHOSTS'],
  // Another identity, which would be shown to the server: passwords, a client certificate, a Kerberos ticket.
  ...['PGPASSWORD', 'PGPASSFILE', 'PGSSLCERT', 'PGSSLKEY', 'PGSSLCERTMODE'],
  ...['PGKRBSRVNAME', 'PGREALM', 'PGGSSLIB', 'PGGSSDELEGATION', 'PGAUTHTYPE'],
  // Another protection: encryption by GSSAPI goes before TLS and skips `sslmode`; the others make TLS older or start differently.
  ...[
    'PGGSSENCMODE',
    'PGSSLNEGOTIATION',
    'PGSSLMINPROTOCOLVERSION',
    'PGSSLMAXPROTOCOLVERSION',
    'PGSSLCOMPRESSION',
  ],
  ...['PGMINPROTOCOLVERSION', 'PGMAXPROTOCOLVERSION'],
] as const;

/** Replaced by each lease; under a prefix the child keeps its own, which every URL of a lease overrides. */
export const replacedLibpqVariables = ['PGHOST', 'PGPORT', 'PGDATABASE', 'PGUSER'] as const;

/**
 * Inherited. What says how far this machine trusts a server can only refuse one, and a lease that says something itself replaces it; the
 * others are about how things look and how long is waited.
 */
export const inheritedLibpqVariables = [
  ...['PGSSLMODE', 'PGREQUIRESSL', 'PGSSLROOTCERT', 'PGSSLCRL', 'PGSSLCRLDIR', 'PGCHANNELBINDING'],
  ...['PGREQUIREAUTH', 'PGREQUIREPEER'],
  ...[
    'PGAPPNAME',
    'PGCONNECT_TIMEOUT',
    'PGCLIENTENCODING',
    'PGDATESTYLE',
    'PGTZ',
    'PGGEQO',
    'PGLOCALEDIR',
    'PGTTY',
  ],
] as const;
