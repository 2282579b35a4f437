import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { http } from '@mayfly/contracts';
import { leaseUrl, parseConnectionUrl, PostgresSecret, type LeasePlace } from '@mayfly/domain';
import { escapeField } from '../credentials/password-file.ts';
import { inheritedLibpqVariables, misleadingLibpqVariables } from '../credentials/libpq-variables.ts';
import { CommandLine, identityToken } from '../fixtures/command-line.ts';
import { FakeGateway, fakePassword, jwtSecret, postgresSecret, Refusal } from '../fixtures/gateway.ts';
import { until } from '../fixtures/until.ts';

let gateway: FakeGateway;
let line: CommandLine;
beforeEach(async () => {
  gateway = await FakeGateway.start();
  line = new CommandLine({ MAYFLY_URL: gateway.url, MAYFLY_IDENTITY_TOKEN: identityToken() });
  line.env['XDG_RUNTIME_DIR'] = line.cwd;
});
afterEach(() => gateway.stop());

const { createLease, deleteLease, renewLease } = http.leases;
const postgresVariables = {
  PGHOST: '127.0.0.1',
  PGPORT: '5432',
  PGDATABASE: 'orders',
  PGUSER: postgresSecret.username,
  PGSSLMODE: 'disable',
};

/** `-- node -e <script>`, with what the scripts below need. */
const node = (script: string) => ['--', process.execPath, '-e', `const fs = require('node:fs'); ${script}`];
const tell = `fs.writeFileSync('child.json', JSON.stringify({ env: process.env, argv: fs.readFileSync('/proc/self/cmdline', 'utf8') }));`;

interface Told {
  env: Record<string, string | undefined>;
  argv: string;
}
const told = () => JSON.parse(readFileSync(join(line.cwd, 'child.json'), 'utf8')) as Told;

describe('mayfly exec', () => {
  it("puts the secret into the child's environment, nowhere else, and gives the lease back", async () => {
    const { status, stdout, stderr } = await line.run('exec', 'orders-db/readonly', ...node(tell));
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '', stderr: '' });
    const { env, argv } = told();
    expect(env).toMatchObject({
      ...postgresVariables,
      PGPASSWORD: fakePassword,
      DATABASE_URL: postgresSecret.url,
    });
    expect(argv).not.toContain(fakePassword);
    expect(process.env['PGPASSWORD']).toBeUndefined();
    expect(gateway.called(deleteLease)[0]?.input['lease_id']).toBe(env['MAYFLY_LEASE_ID']);
    expect(gateway.called(http.oauth.revokeToken)).toHaveLength(1);
  });

  it('opens its session with a heartbeat when asked to', async () => {
    expect((await line.run('exec', 'orders-db/readonly', '--heartbeat', '30s', ...node(tell))).status).toBe(
      0,
    );
    expect(gateway.called(http.oauth.token)[0]?.input).toMatchObject({ heartbeat_seconds: '30' });
    expect((await line.run('exec', 'orders-db/readonly', '--heartbeat', '5s', ...node(tell))).status).toBe(2);
  });

  it('with a heartbeat says as soon as the session has ended, and lets the command go on', async () => {
    gateway.refuse(http.oauth.heartbeat, 'unauthenticated', 'The session has ended.');
    gateway.refuse(deleteLease, 'unauthenticated', 'The session has ended.');
    const waiting = `setInterval(() => fs.existsSync('done') && process.exit(3), 10);`;
    const running = line.run('exec', 'orders-db/readonly', '--heartbeat', '10s', ...node(waiting));
    await until(() => gateway.called(http.oauth.heartbeat).length === 1);
    line.write('done', '');
    expect(await running).toMatchObject({
      status: 3,
      stderr: 'mayfly: The session has ended, and its credentials end with it.\n',
    });
  });

  it("keeps every variable of Mayfly's from the child that is a secret or names one", async () => {
    const own = {
      MAYFLY_IDENTITY_TOKEN_FILE: '/run/sso/token',
      MAYFLY_DATA_DIR: line.cwd,
      MAYFLY_AUDIT_DATABASE_URL: 'postgres://mayfly_auditor:hunter2@db/mayfly',
      MAYFLY_POSTGRES_URL: 'postgres://mayfly_policy:hunter2@db/mayfly',
      MAYFLY_NATS_SEED_FILE: '/run/seed',
      MAYFLY_TOKEN: 'of another lease',
      MAYFLY_NOT_INVENTED_YET: 'secret',
    };
    Object.assign(line.env, own, { KEPT: 'yes' });
    expect((await line.run('exec', 'orders-db/readonly', ...node(tell))).status).toBe(0);
    const { env } = told();
    const names = Object.keys(env).filter((name) => name.startsWith('MAYFLY_'));
    expect(names.sort()).toEqual(['MAYFLY_EXPIRES_AT', 'MAYFLY_LEASE_ID', 'MAYFLY_URL']);
    expect(env['KEPT']).toBe('yes');
  });

  describe.each([
    { options: [], prefix: '' },
    { options: ['--env-prefix', 'X_'], prefix: 'X_' },
    { options: ['--file'], prefix: '' },
  ])('with $options', ({ options, prefix }) => {
    it("keeps libpq's variables that would lead it elsewhere from the child", async () => {
      const misleading = [...misleadingLibpqVariables];
      for (const name of misleading)
        Object.assign(line.env, { [name]: 'elsewhere', [`X_${name}`]: 'elsewhere' });
      for (const name of inheritedLibpqVariables) line.env[name] = 'kept';
      Object.assign(line.env, { PGHOST: 'own', PGUSER: 'own' });
      expect((await line.run('exec', ...options, 'orders-db/readonly', ...node(tell))).status).toBe(0);
      const { env } = told();
      const reached = Object.entries(env).filter(
        ([name, value]) => name.includes('PG') && value === 'elsewhere',
      );
      expect(reached.map(([name]) => name).filter((name) => prefix !== '' || !name.startsWith('X_'))).toEqual(
        [],
      );
      for (const name of inheritedLibpqVariables)
        if (!(prefix === '' && name === 'PGSSLMODE')) expect(env).toHaveProperty(name, 'kept');
      expect(env).toHaveProperty(`${prefix}PGHOST`, '127.0.0.1');
      // Under a prefix the command keeps a database of its own.
      expect(env).toHaveProperty('PGHOST', prefix === '' ? '127.0.0.1' : 'own');
    });
  });

  it('with --file puts it into a 0600 file that is gone afterwards, and not into the environment', async () => {
    const look = `${tell} fs.writeFileSync('file.json', JSON.stringify({ content: fs.readFileSync(process.env.PGPASSFILE, 'utf8'), mode: fs.statSync(process.env.PGPASSFILE).mode & 0o777 }));`;
    const { status } = await line.run('exec', '--file', 'orders-db/readonly', ...node(look));
    expect(status).toBe(0);
    const { env } = told();
    const { content, mode } = JSON.parse(readFileSync(join(line.cwd, 'file.json'), 'utf8')) as {
      content: string;
      mode: number;
    };
    expect(mode).toBe(0o600);
    expect(content).toMatch(/^127\.0\.0\.1:5432:orders:mayfly_0199a3c4:p\\:a/);
    expect(env).toMatchObject({
      ...postgresVariables,
      DATABASE_URL: 'postgresql://mayfly_0199a3c4@127.0.0.1:5432/orders?sslmode=disable',
    });
    expect(Object.values(env)).not.toContain(fakePassword);
    expect(existsSync(env['PGPASSFILE'] ?? '')).toBe(false);
    expect(readdirSync(join(line.cwd, 'mayfly'))).toEqual([]);
  });

  describe('with a credential that', () => {
    /** What a place of that kind becomes; the URL is what minting makes of it. */
    const given = (place: LeasePlace) => {
      const secret = { ...place, password: fakePassword, url: leaseUrl(place, fakePassword) };
      gateway.issuing.postgresSecret = PostgresSecret.parse(secret);
      return secret;
    };
    const look = `${tell} if (process.env.PGPASSFILE) fs.copyFileSync(process.env.PGPASSFILE, 'pgpass');`;
    const passwordFile = () => readFileSync(join(line.cwd, 'pgpass'), 'utf8');
    const place = { host: 'db', port: 5432, database: 'orders', username: 'mayfly_1' };

    it.each([{ options: [] }, { options: ['--file'] }])(
      'is reached by a socket, $options',
      async ({ options }) => {
        const { url } = given({ ...place, host: '/run/pg', port: 5433 });
        expect(await line.run('exec', ...options, 'orders-db/readonly', ...node(look))).toMatchObject({
          status: 0,
        });
        const withFile = 'postgresql://mayfly_1@/orders?host=%2Frun%2Fpg&port=5433';
        expect(told().env).toMatchObject({
          PGHOST: '/run/pg',
          PGPORT: '5433',
          DATABASE_URL: options.length === 0 ? url : withFile,
        });
        if (options.length > 0)
          expect(passwordFile()).toMatch(/^\/run\/pg:5433:orders:.*\nlocalhost:5433:orders:.*\n$/);
      },
    );

    it('is of several hosts, and tells which of them will do', async () => {
      const hosts = [
        { host: 'a', port: 1 },
        { host: '::1', port: 2 },
      ];
      given({ ...place, host: 'a', port: 1, hosts, target_session_attrs: 'read-write' });
      // Of another server.
      Object.assign(line.env, { PGTARGETSESSIONATTRS: 'standby', PGLOADBALANCEHOSTS: 'random' });
      expect(await line.run('exec', '--file', 'orders-db/readonly', ...node(look))).toMatchObject({
        status: 0,
      });
      expect(told().env).toMatchObject({
        PGHOST: 'a,::1',
        PGPORT: '1,2',
        PGTARGETSESSIONATTRS: 'read-write',
        DATABASE_URL: 'postgresql://mayfly_1@a:1,[::1]:2/orders?target_session_attrs=read-write',
      });
      expect(told().env).not.toHaveProperty('PGLOADBALANCEHOSTS');
      expect(passwordFile()).toMatch(/^a:1:orders:.*\n\\:\\:1:2:orders:.*\n$/);
    });

    it('asks for TLS with the CAs of the machine', async () => {
      given({ ...place, sslmode: 'verify-full', sslrootcert: 'system', channel_binding: 'require' });
      await line.run('exec', 'orders-db/readonly', ...node(look));
      expect(told().env).toMatchObject({
        PGSSLMODE: 'verify-full',
        PGSSLROOTCERT: 'system',
        PGCHANNELBINDING: 'require',
      });
    });

    it("leaves TLS open, and with it the agent's own wishes", async () => {
      given(place);
      Object.assign(line.env, {
        PGSSLMODE: 'verify-full',
        PGSSLROOTCERT: '/etc/ca.pem',
        PGTARGETSESSIONATTRS: 'standby',
      });
      await line.run('exec', 'orders-db/readonly', ...node(look));
      expect(told().env).toMatchObject({ PGSSLMODE: 'verify-full', PGSSLROOTCERT: '/etc/ca.pem' });
      expect(told().env).not.toHaveProperty('PGTARGETSESSIONATTRS');
    });

    it.each([': / # @ + %', `a?b&c=d'"`, 'café'])('is of the database %s', async (database) => {
      const { url } = given({ ...place, database });
      await line.run('exec', 'orders-db/readonly', ...node(look));
      expect(told().env).toMatchObject({ PGDATABASE: database, DATABASE_URL: url });
      await line.run('exec', '--file', 'orders-db/readonly', ...node(look));
      const { PGDATABASE, DATABASE_URL = '' } = told().env;
      expect(PGDATABASE).toBe(database);
      expect(parseConnectionUrl(DATABASE_URL)).toEqual({
        outcome: 'parsed',
        connection: { hosts: [{ host: 'db', port: 5432 }], user: 'mayfly_1', database },
      });
      expect(passwordFile()).toBe(`db:5432:${escapeField(database)}:mayfly_1:${escapeField(fakePassword)}\n`);
    });
  });

  it('begins the names with the credential when there are several', async () => {
    gateway.handlers.set(deleteLease.name, ({ lease_id }) => ({
      lease_id,
      outcome: 'expiry_only',
      by: '2026-11-20T19:00:00Z',
    }));
    const { status, stderr } = await line.run(
      'exec',
      'orders-db/readonly',
      'reports-api/read',
      '--env-prefix',
      'X_',
      ...node(tell),
    );
    expect(status).toBe(0);
    expect(told().env).toMatchObject({
      X_ORDERS_DB_READONLY_PGPASSWORD: fakePassword,
      X_REPORTS_API_READ_MAYFLY_TOKEN: jwtSecret.token,
    });
    expect(gateway.called(deleteLease)).toHaveLength(2);
    expect(stderr).toContain(
      "reports-api/read can't be called back at once; it is dead by 2026-11-20 19:00:00Z",
    );
  });

  it("passes the child's exit status on", async () => {
    expect((await line.run('exec', 'orders-db/readonly', ...node('process.exit(42)'))).status).toBe(42);
    expect(
      (await line.run('exec', 'orders-db/readonly', ...node("process.kill(process.pid, 'SIGKILL')"))).status,
    ).toBe(137);
    expect(gateway.called(deleteLease)).toHaveLength(2);
  });

  it('exits with 127 when there is no such command, and with 126 when it can not be run', async () => {
    const missing = await line.run('exec', 'orders-db/readonly', '--', 'no-such-command-here');
    expect(missing).toMatchObject({
      status: 127,
      stderr: expect.stringContaining('there is no such command'),
    });
    expect(
      (await line.run('exec', 'orders-db/readonly', '--', line.write('not-executable', ''))).status,
    ).toBe(126);
    expect(gateway.called(deleteLease)).toHaveLength(2);
  });

  it.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
    'passes %s on, and exits with 128 + n',
    async (signal) => {
      const running = line.run(
        'exec',
        'orders-db/readonly',
        ...node("setInterval(() => {}, 1000); fs.writeFileSync('started', '');"),
      );
      await until(() => existsSync(join(line.cwd, 'started')));
      line.signal(signal);
      expect((await running).status).toBe(128 + { SIGINT: 2, SIGTERM: 15, SIGHUP: 1 }[signal]);
      expect(gateway.called(deleteLease)).toHaveLength(1);
      expect(line.listens).toBe(false);
    },
  );

  it('does not repeat the SIGINT that a terminal has sent to the child itself', async () => {
    line.isTerminal = true;
    const script =
      "process.on('SIGINT', () => process.exit(9)); setInterval(() => {}, 1000); fs.writeFileSync('started', '');";
    const running = line.run('exec', 'orders-db/readonly', ...node(script));
    await until(() => existsSync(join(line.cwd, 'started')));
    line.signal('SIGINT');
    line.signal('SIGTERM');
    expect((await running).status).toBe(143);
  });

  it('lets the child decide what a signal means', async () => {
    const script =
      "process.on('SIGTERM', () => process.exit(7)); setInterval(() => {}, 1000); fs.writeFileSync('started', '');";
    const running = line.run('exec', 'orders-db/readonly', ...node(script));
    await until(() => existsSync(join(line.cwd, 'started')));
    line.signal('SIGTERM');
    expect((await running).status).toBe(7);
  });

  it('never starts the child when a mint fails, and gives back those that did not', async () => {
    gateway.handlers.set(createLease.name, ({ credential }) => {
      if (credential === 'orders-db/readonly') return gateway.issue('orders-db/readonly');
      return { not: 'in the contract' };
    });
    const { status } = await line.run('exec', 'orders-db/readonly', 'orders-db/writer', ...node(tell));
    expect(status).toBe(70);
    expect(existsSync(join(line.cwd, 'child.json'))).toBe(false);
    expect(gateway.called(deleteLease)).toHaveLength(1);
    gateway.refuse(createLease, 'policy_denied', 'no');
    expect((await line.run('exec', 'orders-db/writer', ...node(tell))).status).toBe(11);
    expect(existsSync(join(line.cwd, 'child.json'))).toBe(false);
  });

  it('signalled during the mint never starts the child, ends the session and exits with 128 + n', async () => {
    gateway.handlers.set(createLease.name, () => new Promise(() => undefined));
    const running = line.run('exec', 'orders-db/readonly', ...node(tell));
    await until(() => gateway.called(createLease).length === 1);
    line.signal('SIGTERM');
    expect((await running).status).toBe(143);
    expect(existsSync(join(line.cwd, 'child.json'))).toBe(false);
    expect(gateway.called(http.oauth.revokeToken)).toHaveLength(1);
  });

  describe('with what is renewable in place', () => {
    const renewal = { kind: 'in_place', max_life_seconds: 3600, max_count: 10, grace_seconds: 30 } as const;
    const waitForFile = (name: string) =>
      `while (!fs.existsSync('${name}')) await new Promise((r) => setTimeout(r, 10));`;
    const waiting = `(async () => { ${waitForFile('done')} process.exit(3); })();`;
    const letGo = () => writeFileSync(join(line.cwd, 'done'), '');
    beforeEach(() => void Object.assign(gateway.issuing, { renewal, ttlSeconds: 1 }));

    it('renews when a third of the time is left, again and again, until the command ends', async () => {
      let renewals = 0;
      const at: number[] = [];
      gateway.handlers.set(renewLease.name, () => {
        at.push(performance.now());
        return gateway.renewed(++renewals);
      });
      const started = performance.now();
      const running = line.run('exec', 'orders-db/readonly', ...node(waiting));
      await until(() => renewals === 3);
      letGo();
      expect(await running).toMatchObject({ status: 3, stderr: '' });
      expect((at[0] ?? 0) - started).toBeGreaterThan(650);
      expect((at[1] ?? 0) - (at[0] ?? 0)).toBeGreaterThan(600);
      expect(gateway.called(renewLease).length).toBeGreaterThanOrEqual(3);
      expect(gateway.called(renewLease)[0]?.input).toEqual({
        lease_id: gateway.called(deleteLease)[0]?.input['lease_id'],
      });
    });

    it('says once that it can not be renewed any more, and lets the command go on', async () => {
      gateway.refuse(renewLease, 'policy_denied', 'it has been renewed 10 times, which is the most');
      const running = line.run('exec', 'orders-db/readonly', ...node(waiting));
      await until(() => gateway.called(renewLease).length === 1);
      letGo();
      const { status, stderr } = await running;
      expect(status).toBe(3);
      expect(stderr).toMatch(
        /^mayfly: orders-db\/readonly can't be renewed any more and ends at \d{4}-[^:]+:\d\d:\d\dZ: It has been renewed 10 times, which is the most\.\n$/,
      );
      expect(gateway.called(renewLease)).toHaveLength(1);
    });

    it('tries again while there is time when Mayfly is away', async () => {
      gateway.issuing.ttlSeconds = 6;
      let attempts = 0;
      gateway.handlers.set(renewLease.name, () => {
        attempts++;
        if (attempts === 1) throw new Refusal('dependency_unavailable', 'no');
        return gateway.renewed(1);
      });
      const running = line.run('exec', 'orders-db/readonly', ...node(waiting));
      await until(() => attempts === 2);
      letGo();
      expect(await running).toMatchObject({ status: 3, stderr: '' });
    });

    it('says when the lease ends by its last renewal, when it can not be given back', async () => {
      gateway.handlers.set(renewLease.name, () => ({
        ...gateway.renewed(1),
        expires_at: '2031-01-01T00:00:00.000Z',
        ttl_seconds: 3600,
      }));
      gateway.refuse(deleteLease, 'dependency_unavailable', 'no');
      const running = line.run('exec', 'orders-db/readonly', ...node(waiting));
      await until(() => gateway.called(renewLease).length === 1);
      letGo();
      const { status, stderr } = await running;
      expect(status).toBe(3);
      expect(stderr).toBe(
        'mayfly: orders-db/readonly could not be given back; it ends at 2031-01-01 00:00:00Z.\n',
      );
    });

    it('says once that the session has ended, whichever call finds out, and lets the command go on', async () => {
      gateway.refuse(renewLease, 'unauthenticated', 'The session has ended.');
      gateway.refuse(deleteLease, 'unauthenticated', 'The session has ended.');
      const running = line.run('exec', 'orders-db/readonly', ...node(waiting));
      await until(() => gateway.called(renewLease).length === 1);
      letGo();
      expect(await running).toMatchObject({
        status: 3,
        stderr: 'mayfly: The session has ended, and its credentials end with it.\n',
      });
    });

    it('leaves alone what would take another secret', async () => {
      Object.assign(gateway.issuing, { renewal: { ...renewal, kind: 'rotation' } });
      const running = line.run(
        'exec',
        'orders-db/readonly',
        ...node(`setTimeout(() => process.exit(0), 1200);`),
      );
      expect((await running).status).toBe(0);
      expect(gateway.called(renewLease)).toEqual([]);
    });
  });

  it("keeps the child's status when the lease can not be given back, and says when it ends", async () => {
    gateway.refuse(deleteLease, 'dependency_unavailable', 'no');
    const { status, stderr } = await line.run('exec', 'orders-db/readonly', ...node('process.exit(3)'));
    expect(status).toBe(3);
    expect(stderr).toMatch(/orders-db\/readonly could not be given back; it ends at \d{4}-/);
  });

  it.each(['ending', 'failing'])('says that what is %s may still work', async (outcome) => {
    gateway.handlers.set(deleteLease.name, ({ lease_id }) => ({ lease_id, outcome }));
    const { status, stderr } = await line.run('exec', 'orders-db/readonly', ...node('process.exit(3)'));
    expect(status).toBe(3);
    expect(stderr).toMatch(/^mayfly: orders-db\/readonly is given back but may still work.*Mayfly goes on/);
  });

  it('says of a session that has ended by itself that its leases have too, once for all', async () => {
    gateway.refuse(deleteLease, 'unauthenticated', 'The session has ended.');
    const { status, stderr } = await line.run('exec', 'orders-db/readonly', 'reports-api/read', ...node(''));
    expect({ status, stderr }).toEqual({
      status: 0,
      stderr: 'mayfly: The session has ended, and its credentials end with it.\n',
    });
  });

  it.each([
    [['exec', 'orders-db/readonly']],
    [['exec', 'orders-db/readonly', '--']],
    [['exec', '--', 'true']],
    [['exec', 'a/b', 'a/b', '--', 'true']],
    [['exec', 'a-b/c', 'a/b-c', '--', 'true']],
    [['exec', 'a/b', 'a/c', '--scope', 'x=y', '--', 'true']],
    [['exec', 'a/b', '--env-prefix', '1', '--', 'true']],
  ])('refuses %j without asking anyone', async (args) => {
    expect((await line.run(...args)).status).toBe(2);
    expect(gateway.calls).toEqual([]);
  });

  it("leaves the child's own options alone", async () => {
    await line.run(
      'exec',
      'orders-db/readonly',
      '--',
      process.execPath,
      '-e',
      `require('node:fs').writeFileSync('args', process.argv.slice(1).join(' '))`,
      '--',
      '--url',
      'x',
      '--help',
    );
    expect(readFileSync(join(line.cwd, 'args'), 'utf8')).toBe('--url x --help');
  });
});
