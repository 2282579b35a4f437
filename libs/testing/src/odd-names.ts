/** Names that have no canonical form, or are not in it, by the kind of subject: for the specs of whatever demands one. */
export const oddNames = {
  lease: ['0199A3C4-7D1E-7B3A-9F10-2C5D8E6B4A21', 'no uuid', '{0199a3c4-7d1e-7b3a-9f10-2c5d8e6b4a21}'],
  session: ['0199A3C4-7D1E-7B3A-9F10-2C5D8E6B4A21', '0199a3c47d1e7b3a9f102c5d8e6b4a21'],
  agent: [
    'spiffe://acme.example/agent/ci/build/1/',
    'spiffe://Acme.example/agent/ci/build/1',
    'SPIFFE://acme.example/agent/ci/build/1',
    'spiffe://acme.example/agent/ci/build',
    'spiffe://acme.example/agent/ci/../1',
    'spiffe://acme.example/agent/ci/build/.',
    'spiffe://acme.example/agent/ci/build/1\u200b',
    'spiffe://acme.example/person/a/b',
    'x',
  ],
  user: [
    'Ada@example.com',
    'ada@example.com\u200b',
    'a\u00adda@example.com',
    'zoe\u0308@example.com',
    ' ada@example.com',
    'ada@example.com ',
    'ada\u00a0lovelace',
    'ada@example.com\u{e0061}',
    '',
  ],
  credential: ['orders-db', 'Orders-db/readonly', 'orders-db/readonly\u200b', 'orders-db//x'],
  integration: ['Orders-db', 'orders-db/readonly', 'orders-db\u200b', ''],
} as const;

/** One canonical name of each kind. */
export const canonicalNames = {
  lease: '0199a3c4-7d1e-7b3a-9f10-2c5d8e6b4a21',
  session: '0199a3c4-7d1e-7b3a-9f10-2c5d8e6b4a21',
  agent: 'spiffe://acme.example/agent/ci/Build/1',
  user: 'zo\u00eb@example.com',
  credential: 'orders-db/readonly.v2',
  integration: 'orders-db',
} as const satisfies Record<keyof typeof oddNames, string>;
