/** A real primary and real streaming standbys of it, started for one spec. */
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPostgres, type OwnPostgres } from '@mayfly/stack/postgres';
import { query } from './upstream.fixture.ts';

const settings = { fsync: 'off', full_page_writes: 'off', max_prepared_transactions: '10' };

export class Replicated {
  private constructor(
    private readonly folder: string,
    readonly primary: OwnPostgres,
    /** Each in recovery until it is promoted. */
    readonly standbys: readonly OwnPostgres[],
  ) {}

  /** Starts a primary and as many standbys; `standbySettings` are those of the standbys alone. */
  static async start(
    many: number,
    standbySettings: Readonly<Record<string, string>> = {},
  ): Promise<Replicated> {
    const folder = mkdtempSync(join(tmpdir(), 'mayfly-standby-'));
    chmodSync(folder, 0o711);
    const started: OwnPostgres[] = [];
    try {
      const primary = await startPostgres({ dataDirectory: join(folder, 'primary'), settings });
      started.push(primary);
      // A standby begins as a copy of a server that was stopped in order; there is no pg_basebackup among the programs.
      primary.kill('SIGINT');
      await primary.process().exited;
      const copies = Array.from({ length: many }, (_, index) => copyOf(primary, folder, `standby-${index}`));
      await primary.restart();
      const { port, username, password } = new URL(primary.adminUrl);
      const primary_conninfo = `host=127.0.0.1 port=${port} user=${username} password=${password}`;
      for (const dataDirectory of copies) {
        const options = { dataDirectory, settings: { ...settings, ...standbySettings, primary_conninfo } };
        started.push(await startPostgres(options));
      }
      return new Replicated(folder, primary, started.slice(1));
    } catch (error) {
      for (const server of started) await server.stop();
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  /** Resolves when a standby has replayed all that the primary has written so far. */
  async caughtUp(standby: Pick<OwnPostgres, 'adminUrl'>): Promise<void> {
    const [row] = await query(this.primary.adminUrl, 'SELECT pg_current_wal_flush_lsn()::text AS lsn');
    const replayed = `SELECT pg_last_wal_replay_lsn() >= '${String(row?.['lsn'])}' AS replayed`;
    while ((await query(standby.adminUrl, replayed))[0]?.['replayed'] !== true);
  }

  async stop(): Promise<void> {
    for (const server of [...this.standbys, this.primary]) await server.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function copyOf(primary: OwnPostgres, folder: string, name: string): string {
  const dataDirectory = join(folder, name);
  mkdirSync(dataDirectory, { mode: 0o711 });
  const cluster = join(dataDirectory, 'cluster');
  for (const [from, to] of [
    [primary.clusterFolder, cluster],
    [join(folder, 'primary', 'superuser.password'), join(dataDirectory, 'superuser.password')],
  ] as const) {
    const { status, stderr } = spawnSync('cp', ['-a', from, to], { encoding: 'utf8' });
    if (status !== 0) throw new Error(`the primary could not be copied: ${stderr}`);
  }
  const signal = join(cluster, 'standby.signal');
  writeFileSync(signal, '');
  const { uid, gid } = statSync(cluster);
  chownSync(signal, uid, gid);
  return dataDirectory;
}
