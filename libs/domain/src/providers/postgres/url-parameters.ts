/**
 * The parameters of a connection URL (PostgreSQL documentation §34.1.2). What Mayfly does not do is refused rather than
 * overlooked: a parameter that asks for safety and is ignored is worse than none.
 */
import type { UrlParameter } from './url-parts.ts';
import { UrlRefusal } from './url-refusal.ts';

const taken = [
  'host',
  'port',
  'dbname',
  'user',
  'password',
  'sslmode',
  'sslrootcert',
  'sslcert',
  'sslkey',
  'sslpassword',
  'ssl_min_protocol_version',
  'channel_binding',
  'target_session_attrs',
  'connect_timeout',
  'application_name',
] as const;
export type ParameterName = (typeof taken)[number];
export type GivenParameters = ReadonlyMap<ParameterName, string>;

/** Values that ask for what happens anyway; `undefined`: whatever is asked changes nothing that matters here. */
const withoutEffect: ReadonlyMap<string, readonly string[] | undefined> = new Map([
  ['client_encoding', ['UTF8', 'utf8', 'UTF-8', 'utf-8']],
  ['fallback_application_name', undefined],
  ['gssencmode', ['disable', 'prefer']],
  ['keepalives', undefined],
  ['keepalives_count', undefined],
  ['keepalives_idle', undefined],
  ['keepalives_interval', undefined],
  ['load_balance_hosts', ['disable']],
  ['sslcompression', ['0']],
  ['sslnegotiation', ['postgres']],
  ['sslsni', ['1']],
  ['tcp_user_timeout', undefined],
]);

/** Those of libpq and of well-known drivers: only these are certain to be no part of a password. */
const knownElsewhere = new Set([
  ...['gssdelegation', 'gsslib', 'hostaddr', 'krbsrvname', 'max_protocol_version', 'min_protocol_version'],
  ...['options', 'passfile', 'replication', 'require_auth', 'requirepeer', 'requiressl', 'scram_client_key'],
  ...['scram_server_key', 'service', 'servicefile', 'ssl_max_protocol_version', 'sslcertmode', 'sslcrl'],
  ...['sslcrldir', 'sslkeylogfile', 'uselibpqcompat', 'ssl', 'pgbouncer', 'schema', 'search_path'],
  ...['statement_timeout', 'lock_timeout', 'currentSchema', 'connection_limit', 'pool_timeout'],
]);

/** Those that stand before the `?` too. An empty one takes away what stands there, as in libpq. */
const placeNames: ReadonlySet<string> = new Set(['host', 'port', 'dbname', 'user', 'password']);

/** Those that are given, by their names in libpq. Any other that is empty is as good as none. Throws UrlRefusal. */
export function readParameters(given: readonly UrlParameter[]): GivenParameters {
  const parameters = new Map<ParameterName, string>();
  const holdsPassword = given.some(({ name }) => name === 'password' || name === 'sslpassword');
  const seen = new Set<string>();
  for (const written of given) {
    // libpq takes JDBC's form for its own.
    const isJdbc = written.name === 'ssl' && written.value === 'true';
    const { name, value } = isJdbc ? { name: 'sslmode', value: 'require' } : written;
    if (isTaken(name) || withoutEffect.has(name)) {
      if (seen.has(name)) throw new UrlRefusal(`the parameter ${name} stands twice`);
      seen.add(name);
    }
    if (isTaken(name)) {
      if (value !== '' || placeNames.has(name)) parameters.set(name, value);
    } else {
      checkNeedless(name, value, holdsPassword);
    }
  }
  return parameters;
}

function isTaken(name: string): name is ParameterName {
  return (taken as readonly string[]).includes(name);
}

function checkNeedless(name: string, value: string, holdsPassword: boolean): void {
  if (name === 'options') {
    throw new UrlRefusal(
      "the parameter options is not taken, because it could change how Mayfly's own statements are read; set what you need by ALTER ROLE … SET",
    );
  }
  const allowed = withoutEffect.get(name);
  if (withoutEffect.has(name) && (allowed === undefined || allowed.includes(value))) return;
  if (allowed !== undefined) {
    throw new UrlRefusal(`the parameter ${name} may only be ${allowed[0] ?? 'left out'} here, or left out`);
  }
  // Behind a password in a parameter with a raw "&", what looks like a name is a part of it.
  const isName = knownElsewhere.has(name) || (!holdsPassword && /^[a-z][a-z0-9_.-]{0,62}$/iu.test(name));
  throw new UrlRefusal(
    isName
      ? `the parameter ${name} is not one that Mayfly takes; leave it out`
      : 'a parameter, whose name is not shown because it may be part of a password, is not one that Mayfly takes; in a value write "&" as %26',
  );
}
