/** The table of attacks, on every version of PostgreSQL that is to be tried, with the admin as superuser and as CREATEROLE role. */
import { describeAttacks } from './attack-runs.ts';
import { runningServers } from './servers.ts';
import { table } from './table/index.ts';

const servers = runningServers();

describeAttacks({
  title: 'a hostile lessee',
  attacks: table,
  majors: servers.map(({ major }) => major),
  serverFor: (wanted) => {
    const server = servers.find(({ major }) => major === wanted);
    return server === undefined ? Promise.reject(new Error('it does not run')) : Promise.resolve(server);
  },
  ahead: 5,
  oneAtATime: false,
});
