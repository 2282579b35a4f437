import { describe, expect, it } from '@jest/globals';
import { createLogger } from './logger.ts';
import { inTrace, withSpan } from './lease-trace.ts';
import { aboutWork, describeWork, workFields } from './work-scope.ts';

const lease = 'a0000000-0000-7000-8000-000000000001';
const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

describe('the scope of a work', () => {
  it('is in every log line of it, as soon as something is known', async () => {
    const lines: Record<string, unknown>[] = [];
    const logger = createLogger({
      service: 'minting',
      destination: { write: (line) => void lines.push(JSON.parse(line) as Record<string, unknown>) },
    });
    await aboutWork({}, async () => {
      await Promise.resolve();
      describeWork({ lease_id: lease, credential: 'orders-db/readonly', grant: 'eyJhbGciOi', actor: {} });
      setTimeout(() => logger.info('later'), 1);
      logger.info('now');
      logger.info({ integration: 'reports-db' }, 'of another');
      await new Promise((resolve) => setTimeout(resolve, 5));
    });
    logger.info('after');
    const about = { lease_id: lease, credential: 'orders-db/readonly', integration: 'orders-db' };
    expect(lines).toMatchObject([
      { msg: 'now', ...about },
      { msg: 'of another', ...about, integration: 'reports-db' },
      { msg: 'later', ...about },
      { msg: 'after' },
    ]);
    expect(lines[3]).not.toHaveProperty('lease_id');
    expect(JSON.stringify(lines)).not.toContain('eyJ');
  });

  it('is kept apart from that of other work under way, and takes names only', async () => {
    const about = (id: string) =>
      aboutWork({ lease_id: id }, async () => {
        await Promise.resolve();
        describeWork({ provider: 7, integration: 'x'.repeat(257), organization: '' });
        return workFields();
      });
    expect(await Promise.all([about('one'), about('two')])).toEqual([
      { lease_id: 'one' },
      { lease_id: 'two' },
    ]);
    describeWork({ lease_id: 'nobody’s' });
    expect(workFields()).toEqual({});
  });

  it('follows the attributes of spans: one within is of the same work, one in a lease’s trace of that lease alone', async () => {
    await aboutWork({ lease_id: 'outer', session_id: 's' }, async () => {
      const span = { attributes: { 'mayfly.lease.id': lease, 'mayfly.integration': 'orders-db' } };
      expect(await withSpan('provider.mint', span, () => workFields())).toEqual({
        lease_id: lease,
        session_id: 's',
        integration: 'orders-db',
      });
      expect(await inTrace(traceparent, 'lease.expire', span, () => workFields())).toEqual({
        lease_id: lease,
        integration: 'orders-db',
      });
      expect(workFields()).toEqual({ lease_id: 'outer', session_id: 's' });
    });
  });
});
