import { describe, expect, it } from '@jest/globals';
import { DatabaseError } from 'pg';
import { MayflyError } from '@mayfly/contracts';
import { createLogger } from './logger.ts';
import { NestLogger } from './nest-logger.ts';

function logging(level: 'info' | 'trace' = 'info') {
  const lines: string[] = [];
  const logger = createLogger({
    service: 'gateway',
    level,
    destination: { write: (line) => void lines.push(line) },
  });
  return {
    logger,
    text: () => lines.join(''),
    lines: () => lines.map((line) => JSON.parse(line) as Record<string, unknown>),
  };
}

const jwt = 'eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJodW50ZXIyIn0.c2lnbmF0dXJl';

describe('createLogger', () => {
  it('writes one JSON object per line, with level, ISO time and service', () => {
    const { logger, lines } = logging();
    logger.info({ lease_id: 'l1', credential: 'orders-db/readonly' }, 'lease issued');
    logger.debug('not at this level');
    expect(lines()).toEqual([
      {
        level: 'info',
        time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
        service: 'gateway',
        lease_id: 'l1',
        credential: 'orders-db/readonly',
        msg: 'lease issued',
      },
    ]);
  });

  it.each([
    [
      'secret',
      'password',
      'token',
      'access_token',
      'subject_token',
      'sessionToken',
      'grant',
      'handle',
      'sealed',
    ],
    [
      'Authorization',
      'proxy-authorization',
      'Set-Cookie',
      'DPoP',
      'privateKey',
      'connectionString',
      'verifier',
    ],
  ])('redacts what stands under a telling name, at any depth', (...names) => {
    for (const name of names) {
      const { logger, text } = logging();
      logger.info({ [name]: 'hunter2' }, 'top');
      logger.info({ a: { b: [{ c: { [name]: { inner: 'hunter2' } } }] } }, 'nested');
      logger.child({ request: { headers: { [name]: 'hunter2' } } }).info('child');
      expect(text()).not.toContain('hunter2');
      expect(text().match(/\[redacted\]/g)).toHaveLength(3);
    }
  });

  it('redacts the private members of a JWK and keeps the public ones', () => {
    const { logger, lines } = logging();
    logger.info({ jwk: { kty: 'OKP', crv: 'Ed25519', kid: 'k1', x: 'public', d: 'hunter2' } }, 'key');
    expect(lines()[0]?.['jwk']).toEqual({
      kty: 'OKP',
      crv: 'Ed25519',
      kid: 'k1',
      x: 'public',
      d: '[redacted]',
    });
  });

  it('prints what knows how to print itself by that form', () => {
    const { logger, lines } = logging();
    const wrapped = { value: 'hunter2', toJSON: () => '[redacted]' };
    logger.info({ wrapped, at: new Date(0), bytes: Buffer.from('hunter2') }, 'odd');
    expect(lines()[0]).toMatchObject({
      wrapped: '[redacted]',
      at: '1970-01-01T00:00:00.000Z',
      bytes: '[7 bytes]',
    });
  });

  it.each([
    'connecting to postgres://mayfly:hunter2@db:5432/x',
    'connecting to postgres://mayfly:hunter2@p@db:5432/x?sslmode=require',
    'nats://:hunter2@bus:4222',
    `header was Bearer hunter2hunter2`,
    `token ${jwt} refused`,
    `jwe ${jwt}.hunter2.hunter2 refused`,
    `CREATE ROLE x PASSWORD 'hunter2'`,
    `role with SCRAM-SHA-256$4096:hunter2$hunter2:hunter2`,
    '-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----',
    '-----BEGIN EC PRIVATE KEY-----\nhunter2',
  ])('redacts what looks like a secret in any text: %p', (text) => {
    const { logger, text: all, lines } = logging();
    logger.info(text);
    logger.info({ note: `it's "${text}" he said` }, `it's "${text}" he said`);
    logger.error({ err: new Error('outer', { cause: new Error(text) }) }, 'failed');
    logger.error(new Error(text));
    expect(all()).not.toContain('hunter2');
    expect(all()).not.toContain(jwt);
    expect(lines()).toHaveLength(4);
  });

  it('prints code, reason and causes of an error, and nothing of what a database quotes', () => {
    const { logger, lines, text } = logging();
    const cause = Object.assign(new DatabaseError('duplicate key value: hunter2', 1, 'error'), {
      severity: 'ERROR',
      code: '23505',
      constraint: 'leases_pkey',
      detail: 'Key (id)=(hunter2) already exists.',
      where: 'hunter2',
      query: "INSERT INTO leases VALUES ('hunter2')",
      parameters: ['hunter2'],
    });
    logger.error(
      { err: new MayflyError('dependency_unavailable', 'try again', { cause }) },
      'activation failed',
    );
    expect(text()).not.toContain('hunter2');
    expect(lines()[0]).toMatchObject({
      msg: 'activation failed',
      'db.response.status_code': '23505',
      err: {
        type: 'MayflyError',
        code: 'dependency_unavailable',
        reason: 'try again',
        stack: expect.stringContaining('logger.spec'),
        cause: { code: '23505', constraint: 'leases_pkey' },
      },
    });
  });

  it('survives cycles, depth and size', () => {
    const { logger, text } = logging();
    const cycle: Record<string, unknown> = {};
    cycle['self'] = cycle;
    const error = new Error('round');
    error.cause = error;
    logger.info({ cycle, error, many: Array.from({ length: 100_000 }, (_, i) => i), big: 10n }, 'x');
    logger.info({ long: 'a'.repeat(1_000_000) }, 'eyJ.'.repeat(100_000));
    expect(text().length).toBeLessThan(500_000);
  });
});

describe('NestLogger', () => {
  it('passes Nest’s arguments on as fields', () => {
    const { logger, lines } = logging('trace');
    const nest = new NestLogger(logger);
    nest.log('AppModule dependencies initialized', 'InstanceLoader');
    nest.log('listening', 'Gateway');
    nest.error('failed', 'Error: failed\n    at x', 'ExceptionsHandler');
    nest.error(new MayflyError('internal', 'no'), 'ExceptionsHandler');
    nest.warn({ token: 'hunter2' });
    nest.verbose('detail');
    expect(lines()).toMatchObject([
      { level: 'debug', context: 'InstanceLoader' },
      { level: 'info', context: 'Gateway', msg: 'listening' },
      { level: 'error', context: 'ExceptionsHandler', msg: 'failed', stack: 'Error: failed\n    at x' },
      { level: 'error', err: { code: 'internal', reason: 'no' }, msg: 'internal: no' },
      { level: 'warn', data: { token: '[redacted]' } },
      { level: 'trace', msg: 'detail' },
    ]);
  });
});
