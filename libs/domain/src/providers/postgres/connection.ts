/**
 * Where a PostgreSQL server is and how to get in: what a connection URL of libpq says, with types (PostgreSQL documentation
 * §34.1.1.2 for the URL, §34.1.2 for each parameter). `connection-url.ts` reads one, `connection-url-text.ts` writes one.
 */
import type { Secret } from '../../secret.ts';

/** Weakest first. What each means: PostgreSQL documentation, table 34.1. */
export const sslModes = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const;
export type SslMode = (typeof sslModes)[number];

/** Which of several servers will do (PostgreSQL documentation §34.1.2, `target_session_attrs`). */
export const targetSessionAttributes = [
  'any',
  'read-write',
  'read-only',
  'primary',
  'standby',
  'prefer-standby',
] as const;
export type TargetSessionAttributes = (typeof targetSessionAttributes)[number];

export const channelBindings = ['disable', 'prefer', 'require'] as const;
export type ChannelBinding = (typeof channelBindings)[number];

export const tlsVersions = ['TLSv1.2', 'TLSv1.3'] as const;
export type TlsVersion = (typeof tlsVersions)[number];

export interface PostgresHost {
  /** A name, an IP address (IPv6 without brackets), or the absolute path of the folder that holds the server's socket. */
  readonly host: string;
  readonly port: number;
}

/** Parameters that the URL does not name are absent, so that the same URL can be written again. */
export interface PostgresConnection {
  /** In the order in which to try them; at least one. */
  readonly hosts: readonly [PostgresHost, ...PostgresHost[]];
  /** Absent: the user of the operating system. */
  readonly user?: string;
  readonly password?: Secret;
  /** Absent: named like the user. */
  readonly database?: string;
  /** As written, or what libpq takes because of `sslrootcert=system`. See `sslModeOf`. */
  readonly sslMode?: SslMode;
  /** Absolute path of a file of CA certificates on minting's machine; `system` for those of the machine. */
  readonly sslRootCert?: string;
  /** Absolute paths on minting's machine, always both or neither. */
  readonly sslCert?: string;
  readonly sslKey?: string;
  readonly sslPassword?: Secret;
  readonly sslMinProtocolVersion?: TlsVersion;
  readonly channelBinding?: ChannelBinding;
  /** See `targetSessionAttributesOf`. */
  readonly targetSessionAttributes?: TargetSessionAttributes;
  /** For each host, in seconds. Absent, zero or less: no limit of its own. */
  readonly connectTimeoutSeconds?: number;
  readonly applicationName?: string;
}

/** The mode that holds. */
export function sslModeOf({ sslMode }: Pick<PostgresConnection, 'sslMode'>): SslMode {
  return sslMode ?? 'prefer';
}

/**
 * The attributes that hold. libpq takes any server where none are named. With several hosts Mayfly takes the one that can be written
 * to: it makes and ends roles, so a standby would be of no use to it, and agents who landed on one would not be cut off there.
 */
export function targetSessionAttributesOf(
  connection: Pick<PostgresConnection, 'hosts' | 'targetSessionAttributes'>,
): TargetSessionAttributes {
  return connection.targetSessionAttributes ?? (connection.hosts.length > 1 ? 'read-write' : 'any');
}

/** Whether the host is a folder with a Unix socket in it: TLS is never used there, whatever `sslmode` says. */
export function isSocketFolder({ host }: Pick<PostgresHost, 'host'>): boolean {
  return host.startsWith('/');
}
