import { describe, expect, it } from '@jest/globals';
import { httpOperations } from '@mayfly/contracts';
import { openApiDocument } from './openapi.ts';

interface Page {
  openapi: string;
  paths: Record<
    string,
    Record<
      string,
      {
        operationId: string;
        responses: Record<string, unknown>;
        security: unknown[];
        parameters?: { name: string; in: string }[];
      }
    >
  >;
}

describe('the OpenAPI page', () => {
  const page = openApiDocument('https://mayfly.example', '0.0.0') as Page;
  const described = Object.values(page.paths).flatMap((methods) => Object.values(methods));

  it('describes every operation of the contracts', () => {
    expect(described.map(({ operationId }) => operationId).sort()).toEqual(
      httpOperations.map(({ name }) => name).sort(),
    );
  });

  it('tells the errors of each', () => {
    for (const operation of described)
      expect(Object.keys(operation.responses)).toEqual(expect.arrayContaining(['400', '500', '503']));
  });

  it('says which need a session', () => {
    expect(page.paths['/v1/leases']?.['post']?.security).toEqual([{ session: [] }]);
    expect(page.paths['/v1/token']?.['post']?.security).toEqual([]);
  });

  it('has path parameters in the path', () => {
    expect(page.paths['/v1/leases/{lease_id}']?.['get']?.parameters).toEqual([
      expect.objectContaining({ name: 'lease_id', in: 'path' }),
    ]);
  });
});
