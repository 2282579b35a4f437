/** The hosts and ports of a connection URL, as libpq pairs them (PostgreSQL documentation §34.1.1.3). */
import type { PostgresConnection, PostgresHost } from './connection.ts';
import { UrlRefusal } from './url-refusal.ts';

/** What libpq takes where it has no Unix sockets; its own default is a folder that each distribution chooses. */
const defaultHost = 'localhost';
const defaultPort = 5432;

/** More would only be tried one after the other until the time is over. */
const maxHosts = 16;

const hostName = /^[\p{L}\p{N}_][\p{L}\p{N}._-]{0,254}$/u;
const ipv6 = /^[0-9a-f.]*:[0-9a-f:.]*(?:%[\w.-]+)?$/iu;
const socketFolder = /^\/[^\p{Cc}]*$/u;

/** From two lists: one port is for all hosts, otherwise there are as many. Throws UrlRefusal. */
export function pairHosts(hostList: string, portList: string): PostgresConnection['hosts'] {
  const hosts = hostList.split(',');
  const ports = portList.split(',');
  if (hosts.length > maxHosts) throw new UrlRefusal(`it names more than ${maxHosts} hosts`);
  if (ports.length !== 1 && ports.length !== hosts.length) {
    throw new UrlRefusal('it names another number of ports than of hosts; name one for each, or one for all');
  }
  const [first, ...others] = hosts.map((host, index): PostgresHost => ({
    host: hostOf(host),
    port: portOf(ports.length === 1 ? ports[0] : ports[index]),
  }));
  return [first ?? { host: defaultHost, port: defaultPort }, ...others];
}

function hostOf(text: string): string {
  if (text === '') return defaultHost;
  if (hostName.test(text) || ipv6.test(text) || socketFolder.test(text)) return text;
  throw new UrlRefusal('a host is no name, no IP address and no absolute path of a folder of sockets');
}

function portOf(text = ''): number {
  if (text === '') return defaultPort;
  const port = /^\d{1,5}$/u.test(text) ? Number(text) : 0;
  if (port >= 1 && port <= 65_535) return port;
  throw new UrlRefusal(
    'a port is not a number from 1 to 65535; in the password write "/" as %2F, "?" as %3F and "@" as %40, and put an IPv6 address ' +
      'into brackets',
  );
}
