import { describe, expect, it } from '@jest/globals';
import { Name, OrganizationId } from '@mayfly/contracts';
import { organizationId, organizationNameOf } from './organization-id.ts';

describe('the id of an organization', () => {
  it('is its name for the first of that name, and never the name of another for a later one', () => {
    expect(organizationId('acme', 1)).toBe('acme');
    expect(organizationId('acme', 2)).toBe('acme.2');
    for (const generation of [1, 2, 3, 100]) {
      const id = organizationId('acme', generation);
      expect(OrganizationId.safeParse(id).success).toBe(true);
      expect(Name.safeParse(id).success).toBe(generation === 1);
      expect(organizationNameOf(id)).toBe('acme');
    }
  });
});
