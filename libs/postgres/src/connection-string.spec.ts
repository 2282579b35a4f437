import { describe, expect, it } from '@jest/globals';
import { connectionStringFor, inDatabase, redactConnectionString } from './connection-string.ts';

describe('connection strings', () => {
  it.each([
    'postgres://mayfly:hunter2@db:5432/x',
    'postgres://mayfly@db/x?password=hunter2&sslpassword=hunter2',
    'postgres://:hunter2@db/x',
    'postgres://mayfly:p%40hunter2@db/x',
    'host=db password=hunter2',
    'hunter2',
  ])('are printed without their password: %s', (connectionString) => {
    expect(redactConnectionString(connectionString)).not.toContain('hunter2');
  });

  it('are printed with what tells where they lead', () => {
    expect(redactConnectionString('postgres://mayfly:x@db:5433/orders?sslmode=require')).toBe(
      'postgres://mayfly:redacted@db:5433/orders?sslmode=require',
    );
  });

  it('lead to another role and database of the same server, whatever their names', () => {
    const made = new URL(
      connectionStringFor('postgres://admin:secret@db:5433/postgres?sslmode=require&password=x', {
        role: 'a@b',
        password: 'p/@:w',
        database: 'c d',
      }),
    );
    expect(decodeURIComponent(made.username)).toBe('a@b');
    expect(decodeURIComponent(made.password)).toBe('p/@:w');
    expect(decodeURIComponent(made.pathname)).toBe('/c d');
    expect(made.host).toBe('db:5433');
    expect(made.search).toBe('?sslmode=require');
    expect(inDatabase('postgres://a:b@db/x', 'y')).toBe('postgres://a:b@db/y');
  });
});
