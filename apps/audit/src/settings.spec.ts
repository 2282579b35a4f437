import { describe, expect, it } from '@jest/globals';
import { AuditSettings } from './settings.ts';

const needed = {
  MAYFLY_NATS_URL: 'nats://127.0.0.1:4222',
  MAYFLY_KEYS: '/keys',
  MAYFLY_POSTGRES_URL: 'postgres://mayfly_audit@127.0.0.1/mayfly',
  MAYFLY_CHECKPOINT_FILE: '/checkpoints/checkpoints.jsonl',
};

describe('how often the log is verified', () => {
  it.each([
    [undefined, 300_000],
    ['0', 0],
    ['90s', 90_000],
    ['15m', 900_000],
    ['1d', 86_400_000],
  ])('%s is %d ms', (text, milliseconds) => {
    const given = { ...needed, ...(text !== undefined && { MAYFLY_AUDIT_VERIFY_INTERVAL: text }) };
    expect(AuditSettings.parse(given)).toMatchObject({ MAYFLY_AUDIT_VERIFY_INTERVAL: milliseconds });
  });

  it.each(['', '5', 'm', '-5m', '5 m', '0m', '1.5h', '21d', '5m5s', '9999999d'])('%j is refused', (text) => {
    expect(AuditSettings.safeParse({ ...needed, MAYFLY_AUDIT_VERIFY_INTERVAL: text }).success).toBe(false);
  });
});
