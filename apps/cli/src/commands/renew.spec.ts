import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { blockedReason, http } from '@mayfly/contracts';
import { CommandLine, identityToken } from '../fixtures/command-line.ts';
import { FakeGateway } from '../fixtures/gateway.ts';

const { renewLease } = http.leases;
const leaseId = '0199a3c4-7d1e-7b3a-9f10-2c5d8e6b4a21';

describe('mayfly renew', () => {
  let gateway: FakeGateway;
  let line: CommandLine;
  beforeEach(async () => {
    gateway = await FakeGateway.start();
    line = new CommandLine({ MAYFLY_URL: gateway.url, MAYFLY_IDENTITY_TOKEN: identityToken() });
  });
  afterEach(() => gateway.stop());

  it('says when the lease ends now', async () => {
    gateway.handlers.set(renewLease.name, () => gateway.renewed(1));
    const { status, stdout, stderr } = await line.run('renew', leaseId);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(/^orders-db\/readonly ends in (5m|4m \d+s)\n$/);
    expect(gateway.called(renewLease)[0]?.input).toEqual({ lease_id: leaseId });
  });

  it('asks for a TTL, and tells when it was cut', async () => {
    const ttl_adjusted = { requested_seconds: 900, reason: 'it reaches its maximum life before' };
    gateway.handlers.set(renewLease.name, () => ({ ...gateway.renewed(1), ttl_adjusted }));
    const { stderr } = await line.run('renew', leaseId, '--ttl', '15m');
    expect(gateway.called(renewLease)[0]?.input).toEqual({ lease_id: leaseId, ttl_seconds: 900 });
    expect(stderr).toBe('mayfly: 15m were asked for; it lives shorter: it reaches its maximum life before\n');
  });

  it('prints JSON for scripts, and exits with the status of a refusal', async () => {
    gateway.handlers.set(renewLease.name, () => gateway.renewed(2));
    expect(JSON.parse((await line.run('renew', leaseId, '--json')).stdout)).toMatchObject({ renewals: 2 });
    gateway.refuse(renewLease, 'ttl_exceeded', 'It is at its maximum life.');
    expect((await line.run('renew', leaseId)).status).toBe(13);
    expect((await line.run('renew')).status).toBe(2);
  });

  it.each([
    ['ttl_exceeded', 'It lives at least that long already.', 13, '`mayfly leases` shows when it ends'],
    ['policy_denied', 'It has been renewed 4 times, which is the most.', 11, '`mayfly get` gets a new one'],
    ['conflict', 'Its renewal is a new secret.', 20, 'get a new one with `mayfly get`'],
    ['lease_ended', 'The lease has ended.', 15, 'Ask for a new one with `mayfly get`'],
    ['provider_unavailable', 'away', 17, '`mayfly leases` shows when it ends'],
  ] as const)('tells what to do about %s', async (code, reason, exit, next) => {
    gateway.refuse(renewLease, code, reason);
    const { status, stderr } = await line.run('renew', leaseId);
    expect(status).toBe(exit);
    expect(stderr).toContain(reason.charAt(0).toUpperCase() + reason.slice(1));
    expect(stderr).toContain(next);
    expect(stderr).not.toContain('nothing was issued');
  });

  it('gives its advice no further than to what the lease is about', async () => {
    gateway.refuse(renewLease, 'unauthenticated', 'The session has ended.');
    expect((await line.run('renew', leaseId)).stderr).toContain('identity token');
    gateway.refuse(renewLease, 'policy_denied', blockedReason);
    expect((await line.run('renew', leaseId)).stderr).toContain('Ask an administrator');
  });
});
