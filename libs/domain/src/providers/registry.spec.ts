import { describe, expect, it } from '@jest/globals';
import { providerDefinitions } from './registry.ts';

/** The least that a provider's integration needs. */
const integrations: Record<string, object> = {
  jwt: { audience: 'https://tool.example' },
};

describe('provider definitions', () => {
  // A rotated lease counts against no limit beside its successor. Where its end could fail, it would have to count again
  // from then on (I10), which policy does not do: see docs/adr/0011.
  it('renew by rotation only what can not be called back, whose end can not fail', () => {
    const rotating = [...providerDefinitions.values()].filter(({ renewal }) => renewal === 'rotation');
    const kinds = rotating.map((definition) => {
      const integration = { ...integrations[definition.name] };
      return [definition.name, definition.revocability({ integration, credential: {} }).kind];
    });
    expect(kinds).toEqual(rotating.map(({ name }) => [name, 'expiry_only']));
    expect(rotating.length).toBeGreaterThan(0);
  });
});
