import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { http } from '@mayfly/contracts';
import { CommandLine, identityToken } from '../fixtures/command-line.ts';
import { FakeGateway, fakePassword, jwtSecret, postgresSecret } from '../fixtures/gateway.ts';

let gateway: FakeGateway;
let line: CommandLine;
beforeEach(async () => {
  gateway = await FakeGateway.start();
  line = new CommandLine({ MAYFLY_URL: gateway.url, MAYFLY_IDENTITY_TOKEN: identityToken() });
});
afterEach(() => gateway.stop());

const { createLease, deleteLease } = http.leases;

describe('mayfly get', () => {
  it('asks for what the options say and opens the sealed secret', async () => {
    const { status, stdout, stderr } = await line.run(
      ...['get', 'orders-db/readonly', '--ttl', '15m', '--scope', 'privileges=SELECT'],
      ...['--task', 'nightly report', '--justification', 'it is due', '--format', 'json'],
    );
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ credential: 'orders-db/readonly', secret: postgresSecret });
    expect(stdout).not.toContain('"sealed"');
    expect(stderr).toMatch(/^mayfly: lease [0-9a-f-]{36} ends in (5m|5m \d+s|4m \d+s)\n$/);
    expect(gateway.called(createLease)[0]?.input).toEqual({
      credential: 'orders-db/readonly',
      ttl_seconds: 900,
      scope: { privileges: ['SELECT'] },
      task: 'nightly report',
      justification: 'it is due',
    });
    expect(gateway.called(deleteLease)).toEqual([]);
  });

  it('hints at renewal where the same secret can go on working', async () => {
    gateway.issuing.renewal = { kind: 'in_place', max_life_seconds: 3600, max_count: 10, grace_seconds: 30 };
    const { stderr } = await line.run('get', 'orders-db/readonly');
    expect(stderr).toMatch(/\nmayfly: `mayfly renew 0199a3c4-[0-9a-f-]+` lets it live longer\n$/);
  });

  it.each([
    ['env', /^export PGHOST='127\.0\.0\.1'\n.*export PGPASSWORD='p:a\\ss'\\''w"or\$d'\n/s],
    ['pgpass', /^127\.0\.0\.1:5432:orders:mayfly_0199a3c4:p\\:a\\\\ss'w"or\$d\n$/],
    ['url', /^postgresql:\/\/mayfly_0199a3c4:.*@127\.0\.0\.1:5432\/orders\?sslmode=disable\n$/],
  ])('prints %s', async (format, expected) => {
    expect((await line.run('get', 'orders-db/readonly', '--format', format)).stdout).toMatch(expected);
  });

  it('prints JSON by --json as every other command, and nothing where two formats are asked for', async () => {
    const { stdout } = await line.run('get', 'orders-db/readonly', '--json');
    expect(JSON.parse(stdout)).toMatchObject({ secret: postgresSecret });
    const two = await line.run('get', 'orders-db/readonly', '--json', '--format', 'env');
    expect(two).toMatchObject({ status: 2, stdout: '' });
    expect(gateway.called(createLease)).toHaveLength(1);
  });

  it('prints a token for dotenv readers', async () => {
    const { stdout } = await line.run('get', 'reports-api/read', '--format', 'dotenv');
    expect(stdout).toContain(`MAYFLY_TOKEN=${jwtSecret.token}\n`);
  });

  it('gives back what it can not print', async () => {
    const wrongFormat = await line.run('get', 'reports-api/read', '--format', 'pgpass');
    expect(wrongFormat).toMatchObject({ status: 2, stdout: '' });
    const unwritable = await line.run('get', 'orders-db/readonly', '--format', 'dotenv');
    expect(unwritable).toMatchObject({ status: 70, stdout: '' });
    expect(unwritable.stderr).not.toContain(fakePassword);
    expect(gateway.called(deleteLease)).toHaveLength(2);
  });

  it('refuses and gives back a secret that was not sealed to its session', async () => {
    gateway.handlers.set(createLease.name, async ({ credential }) => {
      return { ...(await gateway.issue(String(credential))), sealed: undefined, secret: postgresSecret };
    });
    const { status, stdout } = await line.run('get', 'orders-db/readonly');
    expect({ status, stdout }).toEqual({ status: 70, stdout: '' });
    expect(gateway.called(deleteLease)).toHaveLength(1);
  });

  it('says when the TTL was cut', async () => {
    gateway.handlers.set(createLease.name, async ({ credential }) => ({
      ...(await gateway.issue(String(credential))),
      ttl_adjusted: { requested_seconds: 900, reason: 'the session ends before' },
    }));
    const { stderr } = await line.run('get', 'orders-db/readonly');
    expect(stderr).toContain('15m were asked for; it lives shorter: the session ends before');
  });
});
