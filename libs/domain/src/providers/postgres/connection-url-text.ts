/** Writes connection URLs that libpq, and `parseConnectionUrl`, read back as just what was meant. */
import {
  isSocketFolder,
  type ChannelBinding,
  type PostgresConnection,
  type PostgresHost,
  type SslMode,
  type TargetSessionAttributes,
} from './connection.ts';

interface UrlFields {
  readonly hosts: readonly PostgresHost[];
  readonly user?: string | undefined;
  readonly password?: string | undefined;
  readonly database?: string | undefined;
  readonly parameters: Readonly<Record<string, string | undefined>>;
}

/** Everything that was parsed, its passwords too: never to be printed. */
export function connectionUrlOf(connection: PostgresConnection): string {
  const { hosts, user, password, database, connectTimeoutSeconds } = connection;
  return write({
    hosts,
    user,
    password: password?.reveal(),
    database,
    parameters: {
      sslmode: connection.sslMode,
      sslrootcert: connection.sslRootCert,
      sslcert: connection.sslCert,
      sslkey: connection.sslKey,
      sslpassword: connection.sslPassword?.reveal(),
      ssl_min_protocol_version: connection.sslMinProtocolVersion,
      channel_binding: connection.channelBinding,
      target_session_attrs: connection.targetSessionAttributes,
      connect_timeout: connectTimeoutSeconds === undefined ? undefined : String(connectTimeoutSeconds),
      application_name: connection.applicationName,
    },
  });
}

/** What the holder of a lease connects with. */
export interface LeasePlace {
  readonly host: string;
  readonly port: number;
  readonly hosts?: readonly PostgresHost[] | undefined;
  readonly database: string;
  readonly username: string;
  readonly sslmode?: SslMode | undefined;
  readonly sslrootcert?: 'system' | undefined;
  readonly channel_binding?: ChannelBinding | undefined;
  readonly target_session_attrs?: TargetSessionAttributes | undefined;
}

/** `password` absent: for where it is kept apart, as in a password file. */
export function leaseUrl(place: LeasePlace, password?: string): string {
  const { host, port, hosts = [{ host, port }], database, username: user } = place;
  const { sslmode, sslrootcert, channel_binding, target_session_attrs } = place;
  const parameters = { sslmode, sslrootcert, channel_binding, target_session_attrs };
  return write({ hosts, user, password, database, parameters });
}

/** A folder of sockets would need another encoding before the path, which not every driver undoes: it goes into the query. */
function write({ hosts, user = '', password, database = '', parameters }: UrlFields): string {
  const credentials = `${encode(user)}${password === undefined ? '' : `:${encode(password)}`}`;
  const inQuery = hosts.some(isSocketFolder);
  const authority = inQuery ? '' : hosts.map(hostAndPort).join(',');
  const query = Object.entries({
    ...(inQuery && {
      host: hosts.map(({ host }) => host).join(','),
      port: hosts.map(({ port }) => port).join(','),
    }),
    ...parameters,
  }).flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${encode(value)}`]));
  return [
    'postgresql://',
    credentials === '' ? '' : `${credentials}@`,
    authority,
    `/${encode(database)}`,
    query.length === 0 ? '' : `?${query.join('&')}`,
  ].join('');
}

function hostAndPort({ host, port }: PostgresHost): string {
  // A zone's "%" is encoded (RFC 6874), the colons are what the brackets are for.
  return `${host.includes(':') ? `[${host.replaceAll('%', '%25')}]` : encode(host)}:${port}`;
}

/** Not by URLSearchParams, whose `+` for a blank is a plus to libpq. */
function encode(text: string): string {
  return encodeURIComponent(text);
}
