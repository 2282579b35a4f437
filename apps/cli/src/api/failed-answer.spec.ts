import { describe, expect, it } from '@jest/globals';
import { http } from '@mayfly/contracts';
import { failureOfAnswer } from './failed-answer.ts';

describe('an answer that is not Mayfly', () => {
  it.each([502, 503, 504])(
    '%d, as of a proxy while the gateway restarts, is one to ask again after',
    (status) => {
      expect(failureOfAnswer(http.administration.getRevocation, status, undefined)).toMatchObject({
        code: 'dependency_unavailable',
        sentence: `What is in front of the gateway answered with status ${status}.`,
      });
    },
  );

  it('is internal with any other status', () => {
    expect(failureOfAnswer(http.administration.getRevocation, 404, '<html>')).toMatchObject({
      code: 'internal',
    });
  });
});
