import { describe, expect, it } from '@jest/globals';
import { knownPathOf, operationOfRoute } from './known-paths.ts';

describe('a known path', () => {
  it.each([
    ['/v1/leases', ['GET', 'HEAD', 'OPTIONS', 'POST']],
    ['/v1/leases?limit=1', ['GET', 'HEAD', 'OPTIONS', 'POST']],
    ['/v1/leases/018f0000-0000-7000-8000-000000000001', ['DELETE', 'GET', 'HEAD', 'OPTIONS']],
    ['/v1/token', ['OPTIONS', 'POST']],
    ['/openapi.json', ['GET', 'HEAD', 'OPTIONS']],
    ['*', ['DELETE', 'GET', 'HEAD', 'OPTIONS', 'POST', 'PUT']],
  ])('%s has its methods', (target, methods) => {
    expect([...(knownPathOf(target)?.methods ?? [])].sort()).toEqual(methods);
  });

  it.each([
    '/',
    '/v1',
    '/v1/leases/',
    '/v1/leases/a/b',
    '/openapixjson',
    '/V1/LEASES',
    '/v1/leases/a/uses/b',
  ])('is not %s', (target) => {
    expect(knownPathOf(target)).toBeUndefined();
  });

  it('has the operation of its route, for HEAD that of GET', () => {
    expect(operationOfRoute('DELETE', '/v1/leases/:lease_id')?.name).toBe('giveBackLease');
    expect(operationOfRoute('HEAD', '/v1/leases')?.name).toBe('listLeases');
    expect(operationOfRoute('PUT', '/v1/leases')).toBeUndefined();
  });
});
