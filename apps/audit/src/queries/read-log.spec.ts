import { describe, expect, it } from '@jest/globals';
import type { AssertionClaims } from '@mayfly/contracts';
import type { TokenVerifier } from '@mayfly/tokens';
import type { Pool } from 'pg';
import { ReadLog } from './read-log.ts';

const leaseId = '01890a5d-ac96-774b-bcce-b302099a8057';

describe('ReadLog', () => {
  it('tells that Postgres is away in a way that may be tried again', async () => {
    const away = Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:5432'), { code: 'ECONNREFUSED' });
    const pool = { query: () => Promise.reject(away) } as unknown as Pool;
    const auditor = {
      act: { action: 'read_audit' },
      kind: 'person',
      person_roles: ['auditor'],
      actor: { organization: 'acme' },
    };
    const verifier = { verify: () => Promise.resolve(auditor) } as unknown as TokenVerifier<AssertionClaims>;
    const log = new ReadLog(pool, verifier);
    await expect(log.events('assertion', { limit: 10 })).rejects.toMatchObject({
      code: 'dependency_unavailable',
    });
    await expect(log.timeline('assertion', leaseId)).rejects.toMatchObject({
      code: 'dependency_unavailable',
    });
  });
});
