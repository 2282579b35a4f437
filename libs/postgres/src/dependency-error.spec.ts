import { describe, expect, it } from '@jest/globals';
import { MayflyError } from '@mayfly/contracts';
import { asDependencyError } from './dependency-error.ts';

function coded(code: string): Error {
  return Object.assign(new Error('upstream text'), { code });
}

describe('asDependencyError', () => {
  it.each([
    ...['ECONNREFUSED', 'ECONNRESET', 'ETIMEDOUT', 'EPIPE', 'ENOTFOUND', 'EAI_AGAIN'].map(coded),
    ...['08000', '08006', '53300', '57014', '57P01', '57P03', '55P03', '25006'].map(coded),
    new Error('Connection terminated unexpectedly'),
    new Error('Connection terminated due to connection timeout'),
    new Error('timeout exceeded when trying to connect'),
    new Error('Query read timeout'),
    Object.assign(new AggregateError([coded('ECONNREFUSED')]), { code: 'ECONNREFUSED' }),
  ])('takes %p for Postgres being away, and keeps its text out of the reason', (error) => {
    const converted = asDependencyError(error);
    expect(converted).toBeInstanceOf(MayflyError);
    expect(converted).toMatchObject({ code: 'dependency_unavailable', cause: error });
    expect((converted as MayflyError).reason).not.toContain('upstream text');
  });

  it.each([
    coded('23505'),
    coded('42601'),
    coded('28P01'),
    coded('40001'),
    new Error('a Connection terminated story'),
    new MayflyError('conflict', 'no'),
    'text',
    undefined,
    null,
  ])('gives back %p as it is', (error) => {
    expect(asDependencyError(error)).toBe(error);
  });
});
