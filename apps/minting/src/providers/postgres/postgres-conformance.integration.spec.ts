/** The cases of every provider, against real PostgreSQL servers, as superuser and as a role with CREATEROLE. */
import { Secret } from '@mayfly/domain';
import { describeProviderConformance } from '@mayfly/testing';
import type { Minted } from '../provider.ts';
import { loginRoleName } from './role-names.ts';
import { query, servers, succeeds, Upstream } from './upstream.fixture.ts';

for (const server of servers) {
  for (const admin of ['superuser', 'createrole'] as const) {
    const title = `postgres (${server.name}, admin with ${admin})`;

    describeProviderConformance(title, { ends: 'named' }, async () => {
      const upstream = await Upstream.make(server.url, admin);
      const may = (secret: string, text: string) =>
        succeeds(query((JSON.parse(secret) as { url: string }).url, text));
      return {
        mint: async ({ leaseId, scope }) => {
          const minted = await upstream.mint(
            leaseId,
            scope === 'bounds' ? upstream.bounds : upstream.narrower,
          );
          return { ...minted, secret: minted.secret.reveal() };
        },
        revoke: (leaseId, handle) => upstream.revoke(leaseId, { handle: handle as Minted['handle'] }),
        reconcile: async (leaseId) => (await upstream.provider.reconcile(upstream.context(leaseId))).outcome,
        mayDoTheNarrow: (secret) => may(secret, 'SELECT note FROM shop.orders; SELECT * FROM shop.notes'),
        mayDoTheWide: (secret) => may(secret, "INSERT INTO shop.orders (note) VALUES ('b')"),
        isLeftUpstream: async (leaseId) => (await upstream.roles(`^${loginRoleName(leaseId)}$`)).length > 0,
        failing: {
          rejected: () =>
            upstream.mint(crypto.randomUUID(), { privileges: ['SELECT'], schemas: ['nowhere_to_be_found'] }),
          unavailable: async () => {
            const { provider } = upstream;
            const secrets = () => Promise.resolve(new Secret('postgres://someone:pw@127.0.0.1:1/nowhere'));
            const { handle } = { handle: { narrowed: false, revocation_statements: [] } };
            return provider.revoke({ ...upstream.context(crypto.randomUUID()), secrets, handle });
          },
        },
        upstreamWords: [/nowhere/, /ECONNREFUSED/, /127\.0\.0\.1/, /someone/],
        close: () => upstream.close(),
      };
    });
  }
}
