/**
 * Reads a connection URL as libpq does (PostgreSQL documentation §34.1.1.2), or says in one sentence what is wrong with it. Pure, so
 * that `mayfly config check` refuses what minting would refuse, and without a default from the environment: one process serves
 * several organizations.
 */
import { Secret } from '../../secret.ts';
import {
  channelBindings,
  sslModes,
  targetSessionAttributes,
  tlsVersions,
  type PostgresConnection,
  type SslMode,
} from './connection.ts';
import { pairHosts } from './url-hosts.ts';
import { readParameters, type ParameterName, type GivenParameters } from './url-parameters.ts';
import { splitUrl } from './url-parts.ts';
import { UrlRefusal } from './url-refusal.ts';

export type ParsedConnectionUrl =
  | { readonly outcome: 'parsed'; readonly connection: PostgresConnection }
  /** `reason` goes on from "the URL is refused: " and quotes nothing of it but names of parameters. */
  | { readonly outcome: 'refused'; readonly reason: string };

/** Never throws. A parameter wins over what stands for the same before the `?`, as in libpq. */
export function parseConnectionUrl(url: string): ParsedConnectionUrl {
  try {
    return { outcome: 'parsed', connection: read(url) };
  } catch (error) {
    if (error instanceof UrlRefusal) return { outcome: 'refused', reason: error.reason };
    throw error;
  }
}

/** Whether a URL can be taken apart in one way only, for what hands it to a driver with rules of its own; undefined: it can. */
export function ambiguityOf(url: string): string | undefined {
  try {
    splitUrl(url);
    return undefined;
  } catch (error) {
    if (error instanceof UrlRefusal) return error.reason;
    throw error;
  }
}

function read(url: string): PostgresConnection {
  const parts = splitUrl(url);
  const parameters = readParameters(parts.parameters);
  const hosts = pairHosts(parameters.get('host') ?? parts.hosts, parameters.get('port') ?? parts.ports);
  const user = parameters.get('user') ?? parts.user;
  const password = parameters.get('password') ?? parts.password;
  const database = parameters.get('dbname') ?? parts.database;
  const applicationName = parameters.get('application_name');
  const connectTimeoutSeconds = readSeconds(parameters);
  const attributes = oneOf(parameters, 'target_session_attrs', targetSessionAttributes);
  return {
    hosts,
    ...(user !== '' && { user }),
    ...(password !== '' && { password: new Secret(password) }),
    ...(database !== '' && { database }),
    ...readTls(parameters),
    ...(attributes !== undefined && { targetSessionAttributes: attributes }),
    ...(connectTimeoutSeconds !== undefined && { connectTimeoutSeconds }),
    ...(applicationName !== undefined && { applicationName }),
  };
}

function readTls(parameters: GivenParameters): Partial<PostgresConnection> {
  const sslRootCert = parameters.get('sslrootcert');
  const sslMode = readSslMode(parameters, sslRootCert);
  if (sslRootCert !== 'system') checkPath('sslrootcert', sslRootCert);
  const [sslCert, sslKey] = [parameters.get('sslcert'), parameters.get('sslkey')];
  checkPath('sslcert', sslCert);
  checkPath('sslkey', sslKey);
  if ((sslCert === undefined) !== (sslKey === undefined)) {
    throw new UrlRefusal('of the parameters sslcert and sslkey there is only one; both are needed, or none');
  }
  const sslPassword = parameters.get('sslpassword');
  const sslMinProtocolVersion = oneOf(parameters, 'ssl_min_protocol_version', tlsVersions);
  const channelBinding = oneOf(parameters, 'channel_binding', channelBindings);
  if (channelBinding === 'require' && sslMode === 'disable') {
    throw new UrlRefusal('channel_binding=require needs TLS, which sslmode=disable excludes');
  }
  return {
    ...(sslMode !== undefined && { sslMode }),
    ...(sslRootCert !== undefined && { sslRootCert }),
    ...(sslCert !== undefined && { sslCert }),
    ...(sslKey !== undefined && { sslKey }),
    ...(sslPassword !== undefined && { sslPassword: new Secret(sslPassword) }),
    ...(sslMinProtocolVersion !== undefined && { sslMinProtocolVersion }),
    ...(channelBinding !== undefined && { channelBinding }),
  };
}

/** With the CAs of the machine anybody can have a certificate, so only the host's name makes it worth something. */
function readSslMode(parameters: GivenParameters, sslRootCert: string | undefined): SslMode | undefined {
  const sslMode = oneOf(parameters, 'sslmode', sslModes);
  if (sslRootCert === 'system') {
    if (sslMode === undefined || sslMode === 'verify-full') return 'verify-full';
    throw new UrlRefusal('sslrootcert=system goes with sslmode=verify-full only');
  }
  if (sslMode === 'verify-ca' && sslRootCert === undefined) {
    throw new UrlRefusal(
      "sslmode=verify-ca needs sslrootcert, the absolute path of a file with the CA's certificate on minting's machine",
    );
  }
  return sslMode;
}

function checkPath(name: ParameterName, path: string | undefined): void {
  if (path === undefined || /^\/[^\p{Cc}]+$/u.test(path)) return;
  const more = name === 'sslrootcert' ? ', or system' : '';
  throw new UrlRefusal(
    `the parameter ${name} must be the absolute path of a file on minting's machine${more}`,
  );
}

function oneOf<Value extends string>(
  parameters: GivenParameters,
  name: ParameterName,
  values: readonly Value[],
): Value | undefined {
  const given = parameters.get(name);
  if (given === undefined) return undefined;
  const value = values.find((candidate) => candidate === given);
  if (value === undefined) throw new UrlRefusal(`the parameter ${name} must be one of ${values.join(', ')}`);
  return value;
}

function readSeconds(parameters: GivenParameters): number | undefined {
  const given = parameters.get('connect_timeout');
  if (given === undefined) return undefined;
  if (/^-?\d{1,9}$/u.test(given)) return Number(given);
  throw new UrlRefusal('the parameter connect_timeout must be a whole number of seconds');
}
