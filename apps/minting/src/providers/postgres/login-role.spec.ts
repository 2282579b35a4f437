import { describe, expect, it } from '@jest/globals';
import { deadlineIn } from '../deadline.ts';
import { ProviderRejected, ProviderUnavailable } from '../provider-error.ts';
import type { AdminDatabase } from './admin-database.ts';
import { cameTooLate, roleWasMissing, runCreationStatements } from './login-role.ts';
import { arrivedLate } from './server-clock.ts';

describe('custom statements', () => {
  it('that fail may have made something, since one of them may have committed', async () => {
    const cause = Object.assign(new Error('no such role'), { code: '42704', severity: 'ERROR' });
    const database = {
      runKnowing: () => Promise.reject(new ProviderRejected('something does not exist', { cause })),
    } as unknown as AdminDatabase;
    const statements = ['CREATE ROLE "mayfly_x" LOGIN', 'COMMIT', 'GRANT nothing TO "mayfly_x"'];
    const failure: unknown = await runCreationStatements(
      database,
      'mayfly_x',
      statements,
      deadlineIn(1_000),
    ).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'provider_rejected', effect: 'unknown', cause });
    expect(roleWasMissing(failure)).toBe(true);
  });

  it('that were refused as too late have made nothing, since that is looked at before the first of them', async () => {
    const cause = Object.assign(new Error('arrived late'), { code: arrivedLate, severity: 'ERROR' });
    const database = {
      runKnowing: () => Promise.reject(new ProviderUnavailable('not at the moment', { cause })),
    } as unknown as AdminDatabase;
    const failure: unknown = await runCreationStatements(
      database,
      'mayfly_x',
      ['CREATE ROLE "mayfly_x" LOGIN', 'COMMIT'],
      deadlineIn(1_000),
    ).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'provider_unavailable', effect: 'none', cause });
    expect(cameTooLate(failure)).toBe(true);
  });
});
