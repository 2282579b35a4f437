import { describe, expect, it } from '@jest/globals';
import { deadlineIn } from '../deadline.ts';
import { ProviderRejected } from '../provider-error.ts';
import type { AdminDatabase } from './admin-database.ts';
import { roleWasMissing, runCreationStatements } from './login-role.ts';

describe('custom statements', () => {
  it('that fail may have made something, since one of them may have committed', async () => {
    const cause = Object.assign(new Error('no such role'), { code: '42704', severity: 'ERROR' });
    const database = {
      run: () => Promise.reject(new ProviderRejected('something does not exist', { cause })),
    } as unknown as AdminDatabase;
    const statements = ['CREATE ROLE "mayfly_x" LOGIN', 'COMMIT', 'GRANT nothing TO "mayfly_x"'];
    const failure: unknown = await runCreationStatements(
      database,
      { name: 'mayfly_x', group: undefined },
      statements,
      deadlineIn(1_000),
    ).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'provider_rejected', effect: 'unknown', cause });
    expect(roleWasMissing(failure)).toBe(true);
  });
});
