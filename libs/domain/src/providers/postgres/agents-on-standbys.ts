/**
 * Whether agents may land on a hot standby. There a lease goes on until the standby has replayed its end, so whoever sends agents to
 * one has to name it (`standbys`), and who sends them elsewhere has to say that no standby is there (`standbys: []`).
 */
import type { SettingsProblem } from '../definition.ts';
import { targetSessionAttributesOf, type PostgresConnection } from './connection.ts';

interface Settings {
  readonly agent_host?: string | undefined;
  readonly agent_port?: number | undefined;
  readonly standbys?: readonly string[] | undefined;
}

/** What is wrong with settings that send agents to another place than the admin URL names; undefined when they are explained. */
export function agentHostUnexplained(settings: Settings): SettingsProblem | undefined {
  if (!namesAnotherPlace(settings) || settings.standbys !== undefined) return undefined;
  return { key: settings.agent_host === undefined ? 'agent_port' : 'agent_host', problem: unexplained };
}

/** Whether an admin URL, with nothing said of standbys, tells agents of servers that need not be the primary. */
export function leadsAgentsToStandbys(
  connection: Pick<PostgresConnection, 'hosts' | 'targetSessionAttributes'>,
  settings: Settings,
): boolean {
  if (namesAnotherPlace(settings) || settings.standbys !== undefined) return false;
  const attributes = targetSessionAttributesOf(connection);
  return connection.hosts.length > 1 && attributes !== 'read-write' && attributes !== 'primary';
}

function namesAnotherPlace({ agent_host, agent_port }: Settings): boolean {
  return agent_host !== undefined || agent_port !== undefined;
}

/** Three sentences that go on from what they are about. */
const unexplained =
  'sends agents to another server than the admin URL names, where a lease may go on after its end: list under "standbys" the ' +
  'references to connection URLs of every standby that agents can reach there, or write "standbys: []" if it leads to the primary alone';

export const leadsToStandbys =
  'names several hosts and lets agents use a standby among them, where a lease may go on after its end: list the references to ' +
  'connection URLs of the standbys under "standbys", or ask for target_session_attrs=read-write';

export const severalStandbys =
  'names several hosts: each standby needs a reference of its own, because a lease has to be ended on every one of them';
