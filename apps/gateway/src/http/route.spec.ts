import 'reflect-metadata';
import { describe, expect, it } from '@jest/globals';
import { http, httpOperations, MayflyError, type HttpOperation } from '@mayfly/contracts';
import { AdministrationController } from '../administration/administration.controller.ts';
import { LeasesController } from '../leases/leases.controller.ts';
import { OAuthController } from '../oauth/oauth.controller.ts';
import { operationKey, parseInput } from './route.ts';

const request = (parts: { params?: object; query?: object; body?: unknown }) => ({
  params: {},
  query: {},
  body: undefined,
  ...parts,
});

describe('routes', () => {
  it('cover every operation of the contracts, each just once', () => {
    const handled = [LeasesController, OAuthController, AdministrationController].flatMap(({ prototype }) =>
      Object.getOwnPropertyNames(prototype)
        .map(
          (name) =>
            Reflect.getMetadata(
              operationKey,
              (prototype as unknown as Record<string, object>)[name] ?? {},
            ) as HttpOperation | undefined,
        )
        .filter((operation) => operation !== undefined),
    );
    expect(handled.map(({ name }) => name).sort()).toEqual(httpOperations.map(({ name }) => name).sort());
  });
});

describe('the input of an operation', () => {
  const leaseId = '0192f7a0-0000-7000-8000-000000000000';

  it('comes from path and body, parsed by the contract', () => {
    const input = parseInput(
      http.leases.reportUse,
      request({ params: { lease_id: leaseId }, body: { action: 'select' } }),
    );
    expect(input).toEqual({ lease_id: leaseId, action: 'select', outcome: 'success' });
  });

  it('has numbers of a query string as numbers', () => {
    expect(parseInput(http.leases.listLeases, request({ query: { limit: '5' } }))).toMatchObject({
      limit: 5,
      state: 'live',
    });
  });

  it.each([
    ['a body that is no object', { body: [] }],
    ['text as a body', { body: 'x' }],
    ['an unknown field', { body: { credential: 'a/b', admin: true } }],
    ['a wrong type', { body: { credential: 7 } }],
    ['a NUL byte', { body: { credential: 'a/b\u0000' } }],
    ['a scope that is no object', { body: { credential: 'a/b', scope: 'all' } }],
    [
      'a scope nested too deep',
      {
        body: { credential: 'a/b', scope: JSON.parse('{"a":'.repeat(12) + '1' + '}'.repeat(12)) as unknown },
      },
    ],
    ['a negative TTL', { body: { credential: 'a/b', ttl_seconds: -1 } }],
    ['a fractional TTL', { body: { credential: 'a/b', ttl_seconds: 1.5 } }],
  ])('is refused for %s, in a sentence that does not repeat values', (_what, parts) => {
    expect(() => parseInput(http.leases.createLease, request(parts))).toThrow(MayflyError);
  });

  it('never repeats a value that may be a secret in the wrong place', () => {
    expect(() =>
      parseInput(http.leases.createLease, request({ body: { credential: { password: 'hunter2' } } })),
    ).toThrow(expect.objectContaining({ reason: expect.not.stringContaining('hunter2') as unknown }));
  });

  it('is refused when a path parameter is given twice', () => {
    const twice = request({ params: { lease_id: leaseId }, body: { lease_id: leaseId } });
    expect(() => parseInput(http.leases.reportUse, twice)).toThrow('path only');
  });
});
