import { describe, expect, it } from '@jest/globals';
import { inheritedEnvironment } from './service-environment.ts';

describe('what a service inherits', () => {
  it('is the basics of the system, OTEL_* and numbers that tune Mayfly', () => {
    const env = { PATH: '/bin', OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector', MAYFLY_SWEEP_MS: '5000' };
    expect(inheritedEnvironment(env)).toEqual(env);
  });

  it.each(['10', '250ms', '10s', '5m', '2h', '1d'])('is a length of time such as %s', (length) => {
    expect(inheritedEnvironment({ MAYFLY_AUDIT_VERIFY_INTERVAL: length })).toMatchObject({
      MAYFLY_AUDIT_VERIFY_INTERVAL: length,
    });
  });

  it('is nothing that may be a secret or a place', () => {
    const secrets = {
      MAYFLY_POSTGRES_URL: 'postgres://superuser:secret@localhost/postgres',
      ORDERS_ADMIN_URL: 'postgres://admin:secret@localhost/orders',
      MAYFLY_CONFIG: '/etc/mayfly.yaml',
      PGPASSWORD: '12345',
    };
    expect(inheritedEnvironment(secrets)).toEqual({ OTEL_TRACES_EXPORTER: 'none' });
  });
});
