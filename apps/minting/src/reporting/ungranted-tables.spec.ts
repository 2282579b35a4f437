import { describe, expect, it } from '@jest/globals';
import { createMetrics, ungrantedTables } from '@mayfly/telemetry';
import { UngrantedTables } from './ungranted-tables.ts';

const none = { count: 0, examples: [] };

function observed() {
  const lines: object[] = [];
  const ungranted = new UngrantedTables({ warn: (fields: object) => void lines.push(fields) });
  const registry = createMetrics('minting');
  let now = performance.now();
  ungrantedTables(registry, (gauge) => ungranted.collect(gauge, now));
  const series = async () =>
    (await registry.metrics()).split('\n').filter((line) => line.startsWith('mayfly_postgres_ungranted'));
  return { lines, ungranted, series, later: (ms: number) => (now += ms) };
}

const look = (group: string, tables: number, integration = 'shop-db') => ({
  organization: 'acme',
  integration,
  group,
  notGrantable: { count: tables, examples: tables === 0 ? [] : ['TABLE shop.theirs'] },
  locked: none,
});

describe('tables that leases do without', () => {
  it('are a number for each integration, the most of any scope, and a line in the log', async () => {
    const { lines, ungranted, series } = observed();
    ungranted.looked(look('mayfly_scope_a', 3));
    ungranted.looked(look('mayfly_scope_b', 2));
    ungranted.looked({
      ...look('mayfly_scope_c', 0, 'other-db'),
      locked: { count: 1, examples: ['TABLE x.y'] },
    });
    expect(await series()).toEqual([
      'mayfly_postgres_ungranted_tables{organization="acme",integration="shop-db",cause="no_grant_option",service="minting"} 3',
      'mayfly_postgres_ungranted_tables{organization="acme",integration="other-db",cause="locked",service="minting"} 1',
    ]);
    expect(lines).toHaveLength(3);
    expect(lines[0]).toMatchObject({
      group: 'mayfly_scope_a',
      not_grantable: 3,
      examples: ['TABLE shop.theirs'],
    });
  });

  it('are forgotten when they are granted, and an hour after the last look', async () => {
    const { lines, ungranted, series, later } = observed();
    ungranted.looked(look('mayfly_scope_a', 3));
    ungranted.looked(look('mayfly_scope_a', 0));
    expect(await series()).toEqual([]);
    expect(lines).toHaveLength(1);
    ungranted.looked(look('mayfly_scope_b', 1));
    later(3_600_000 + 60_000);
    expect(await series()).toEqual([]);
  });
});
