import { describe, expect, it } from '@jest/globals';
import { NotFoundException } from '@nestjs/common';
import { MayflyError } from '@mayfly/contracts';
import { failureOf } from './error-filter.ts';

describe('what a client is told of a failure', () => {
  it('is the code and reason of a MayflyError', () => {
    expect(failureOf(new MayflyError('scope_exceeded', 'too wide'))).toEqual({
      code: 'scope_exceeded',
      reason: 'too wide',
    });
  });

  it('is nothing of an error from inside', () => {
    const failure = failureOf(new Error('password=hunter2 at /srv/app.js:1'));
    expect(failure.code).toBe('internal');
    expect(JSON.stringify(failure)).not.toContain('hunter2');
  });

  it('is never the cause of a MayflyError', () => {
    const failure = failureOf(
      new MayflyError('provider_rejected', 'the upstream refused', { cause: new Error('FATAL: secret') }),
    );
    expect(JSON.stringify(failure)).not.toContain('secret');
  });

  it.each([
    [Object.assign(new Error('x'), { code: 'FST_ERR_CTP_BODY_TOO_LARGE' }), 'invalid_request', 413],
    [Object.assign(new Error('x'), { code: 'FST_ERR_CTP_INVALID_MEDIA_TYPE' }), 'invalid_request', 415],
    [Object.assign(new Error('x'), { statusCode: 400 }), 'invalid_request', 400],
    [new NotFoundException(), 'not_found', undefined],
    ['thrown text', 'internal', undefined],
    [undefined, 'internal', undefined],
  ])('has a code of the table for %s', (exception, code, status) => {
    const failure = failureOf(exception);
    expect(failure.code).toBe(code);
    expect(failure.status).toBe(status);
  });
});
