import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { http } from '@mayfly/contracts';
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
});
