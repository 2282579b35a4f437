import { describe, expect, it } from '@jest/globals';
import { MayflyError } from '@mayfly/contracts';
import { DatabaseError } from 'pg';
import { answerCode, isAnswer } from './answer-code.ts';
import { createLogger } from './logger.ts';

const text = 'permission denied: hunter2\n    at hunter2';
const fromPostgres = Object.assign(new DatabaseError(text, 1, 'error'), {
  severity: 'ERROR',
  code: '42501',
  routine: 'aclcheck_error',
});
const fromHttp = Object.assign(new Error(text), { response: { status: 403, body: text } });
const fromSdk = Object.assign(new Error(text), { $metadata: { httpStatusCode: 429 } });
const fromNetwork = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });

const failure = (cause: unknown) => new MayflyError('provider_rejected', 'the upstream refused', { cause });

describe('answerCode', () => {
  it.each<[string, unknown, Record<string, unknown>]>([
    ['a SQLSTATE', fromPostgres, { 'db.response.status_code': '42501', 'error.type': '42501' }],
    ['an HTTP status', fromHttp, { 'http.response.status_code': 403, 'error.type': '403' }],
    ['the HTTP status of an SDK', fromSdk, { 'http.response.status_code': 429, 'error.type': '429' }],
    ['an errno', fromNetwork, { 'error.type': 'ECONNREFUSED' }],
    [
      'the errno of the last of several attempts',
      new AggregateError([new Error('x'), fromNetwork]),
      { 'error.type': 'ECONNREFUSED' },
    ],
    ['nothing of a defect', new TypeError('x'), {}],
    ['nothing of what only looks like a code', Object.assign(new Error('x'), { code: 'hunter2!' }), {}],
  ])('finds %s behind a failure', (_what, cause, code) => {
    expect(answerCode(failure(cause))).toEqual(code);
    expect(answerCode(new Error('outer', { cause: failure(cause) }))).toEqual(code);
  });

  it('takes an error of our own server, or one without a shape, for no answer', () => {
    expect(isAnswer(Object.assign(new Error('x'), { statusCode: 413 }))).toBe(false);
    expect(answerCode(undefined)).toEqual({});
    const round = new Error('round');
    round.cause = round;
    expect(answerCode(round)).toEqual({});
  });

  it.each([fromPostgres, fromHttp, fromSdk])(
    'is in a log line, and the text of the server is not',
    (cause) => {
      const lines: string[] = [];
      const logger = createLogger({ service: 'minting', destination: { write: (line) => lines.push(line) } });
      logger.error({ err: failure(cause) }, 'minting.issue answered provider_rejected');
      expect(lines.join('')).not.toContain('hunter2');
      const [line] = lines.map((written) => JSON.parse(written) as Record<string, unknown>);
      expect(line).toMatchObject({ ...answerCode(cause), err: { reason: 'the upstream refused' } });
      expect((line as { err: { cause: { stack: string } } }).err.cause.stack).toContain('answer-code.spec');
    },
  );
});
