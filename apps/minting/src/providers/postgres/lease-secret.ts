/**
 * What the holder of a lease gets: the place of the integration's admin URL, and what that says of TLS, unless the integration says
 * otherwise. Never a path: those are on minting's machine, and where `verify-full` needs a CA, the holder's own machine has it.
 */
import {
  leaseUrl,
  targetSessionAttributesOf,
  type PostgresHost,
  type PostgresIntegrationSettings,
  type PostgresSecret,
  type SslMode,
} from '@mayfly/domain';
import type { AdminConnection } from './connecting/admin-url.ts';
import { loginRoleName } from './role-names.ts';

interface Lease {
  readonly leaseId: string;
  readonly integrationSettings: PostgresIntegrationSettings;
}

export function leaseSecret(
  { leaseId, integrationSettings }: Lease,
  connection: AdminConnection,
  password: string,
): PostgresSecret {
  const hosts = agentHosts(connection, integrationSettings);
  const [{ host, port }] = hosts;
  const sslmode = integrationSettings.sslmode ?? connection.sslMode;
  const place = {
    host,
    port,
    ...(hosts.length > 1 && { hosts: [...hosts] }),
    database: connection.database,
    username: loginRoleName(leaseId),
    ...(sslmode !== undefined && { sslmode }),
    ...tlsParameters(connection, sslmode),
    ...sessionAttributes(connection, integrationSettings),
  };
  return { ...place, password, url: leaseUrl(place, password) };
}

/** `agent_host` may be several, as in libpq's `host`, all with the one port. */
function agentHosts(
  { hosts }: AdminConnection,
  { agent_host, agent_port }: PostgresIntegrationSettings,
): readonly [PostgresHost, ...PostgresHost[]] {
  const [first, ...others] =
    agent_host === undefined
      ? hosts.map(({ host, port }) => ({ host, port: agent_port ?? port }))
      : agent_host.split(',').map((host) => ({ host, port: agent_port ?? hosts[0].port }));
  return first === undefined ? hosts : [first, ...others];
}

/** What goes with a weaker `sslmode` only as an error of libpq is left out. */
function tlsParameters(
  { sslRootCert, channelBinding }: AdminConnection,
  sslmode: SslMode | undefined,
): Pick<PostgresSecret, 'sslrootcert' | 'channel_binding'> {
  return {
    ...(sslRootCert === 'system' && sslmode === 'verify-full' && { sslrootcert: sslRootCert }),
    ...(channelBinding !== undefined && sslmode !== 'disable' && { channel_binding: channelBinding }),
  };
}

/** Of the servers of the URL: other ones, which `agent_host` names, need not have the same. */
function sessionAttributes(
  connection: AdminConnection,
  { agent_host }: PostgresIntegrationSettings,
): Pick<PostgresSecret, 'target_session_attrs'> {
  const attributes = targetSessionAttributesOf(connection);
  if (agent_host !== undefined || attributes === 'any') return {};
  return { target_session_attrs: attributes };
}
