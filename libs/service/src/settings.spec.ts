import { describe, expect, it } from '@jest/globals';
import { z } from 'zod';
import { connectionUrl } from './settings.ts';

describe('the connection URL of a service', () => {
  const settings = z.object({ MAYFLY_POSTGRES_URL: connectionUrl() });

  it.each(['postgres://mayfly:p%40ss%2Fw@db:5432/mayfly?sslmode=no-verify', 'postgresql://db'])(
    'is taken as it is, and printed by nobody: %s',
    (url) => {
      const parsed = settings.parse({ MAYFLY_POSTGRES_URL: url });
      expect(parsed.MAYFLY_POSTGRES_URL.reveal()).toBe(url);
      expect(JSON.stringify(parsed)).not.toContain('db');
    },
  );

  // The driver says of the first: getaddrinfo ENOTFOUND ter2.
  it.each(['postgres://mayfly:hun@ter2/x@db/mayfly', 'postgres://mayfly:12/hunter@db', 'hunter2', ''])(
    'is refused with a sentence without a word of it: %s',
    (url) => {
      const { error } = settings.safeParse({ MAYFLY_POSTGRES_URL: url });
      expect(error?.issues).toMatchObject([{ path: ['MAYFLY_POSTGRES_URL'] }]);
      expect(error?.message).toMatch(/%40, %2F|begin with postgres/);
      expect(error?.message).not.toMatch(/hun|ter2|12/);
    },
  );
});
