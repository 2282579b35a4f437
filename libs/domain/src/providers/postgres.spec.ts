import { describe, expect, it } from '@jest/globals';
import { postgresDefinition, PostgresIntegrationSettings, PostgresScope } from './postgres.ts';

const bounds: PostgresScope = {
  privileges: ['SELECT', 'INSERT'],
  schemas: ['public', 'sales'],
  tables: ['public.orders', 'sales.orders'],
};

describe('the postgres scope', () => {
  it.each([
    ['nothing asked', undefined, bounds],
    ['an empty request', {}, bounds],
    ['fewer privileges', { privileges: ['SELECT'] }, { ...bounds, privileges: ['SELECT'] }],
    [
      'one schema keeps its tables',
      { schemas: ['sales'] },
      { ...bounds, schemas: ['sales'], tables: ['sales.orders'] },
    ],
    [
      'one table',
      { schemas: ['sales'], tables: ['sales.orders'] },
      { ...bounds, schemas: ['sales'], tables: ['sales.orders'] },
    ],
  ])('%s', (_name, requested, scope) => {
    expect(postgresDefinition.narrow(requested, bounds)).toEqual({ outcome: 'narrowed', scope });
  });

  it.each([
    ['a privilege beyond', { privileges: ['SELECT', 'DELETE'] }, 'exceeded'],
    ['a schema beyond', { schemas: ['secrets'] }, 'exceeded'],
    ['a table beyond', { tables: ['public.users'] }, 'exceeded'],
    ['a table outside the schemas asked for', { schemas: ['public'], tables: ['sales.orders'] }, 'exceeded'],
    ['a schema without any table of the bounds', { schemas: [] }, 'malformed'],
    ['an unknown privilege', { privileges: ['ALL'] }, 'malformed'],
    ['TRIGGER, whatever the bounds', { privileges: ['TRIGGER'] }, 'malformed'],
    ['a lower-case privilege', { privileges: ['select'] }, 'malformed'],
    ['a text', 'SELECT', 'malformed'],
    ['null', null, 'malformed'],
    ['an unknown key', { schema: ['public'] }, 'malformed'],
    ['a NUL', { schemas: ['public\0'] }, 'malformed'],
  ])('%s is refused', (_name, requested, outcome) => {
    expect(postgresDefinition.narrow(requested, bounds).outcome).toBe(outcome);
  });

  it.each([
    [['SELECT'], false],
    [['SELECT', 'INSERT'], true],
    [['REFERENCES'], true],
  ] as const)('%j writes: %s', (privileges, writes) => {
    expect(postgresDefinition.writes({ privileges: [...privileges], schemas: ['public'] })).toBe(writes);
  });

  it('never has TRIGGER, and says why', () => {
    const parsed = PostgresScope.safeParse({ privileges: ['SELECT', 'TRIGGER'], schemas: ['public'] });
    expect(parsed.error?.issues.map(({ path, message }) => [path.join('.'), message])).toEqual([
      ['privileges.1', expect.stringContaining('run code as whoever writes to the table') as unknown],
    ]);
  });

  it('tells REFERENCES as unsafe, where it stands', () => {
    const unsafe = (privileges: PostgresScope['privileges']) =>
      postgresDefinition.unsafeRights?.({ privileges, schemas: ['public'] });
    expect(unsafe(['SELECT', 'REFERENCES'])).toMatchObject([{ name: 'REFERENCES', path: ['privileges', 1] }]);
    expect(unsafe(['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE'])).toEqual([]);
  });

  it.each([
    [['SELECT', 'TRIGGER'], [], ['SELECT'], 1],
    [['SELECT', 'REFERENCES'], [], ['SELECT'], 1],
    [['SELECT', 'REFERENCES'], ['REFERENCES'], ['SELECT', 'REFERENCES'], 0],
    // TRIGGER can't be had by naming it.
    [['SELECT', 'TRIGGER'], ['TRIGGER'], ['SELECT'], 1],
    [['TRIGGER', 'REFERENCES'], [], undefined, 2],
    [['SELECT', 'ALL', '__proto__'], [], ['SELECT', 'ALL', '__proto__'], 0],
  ])('carries %j over, with %j named unsafe, as %j', (privileges, unsafe, kept, leftOut) => {
    const carried = postgresDefinition.carryOver?.({ privileges, schemas: ['public'] }, unsafe);
    expect(carried?.bounds).toEqual(kept && { privileges: kept, schemas: ['public'] });
    expect(carried?.leftOut).toHaveLength(leftOut);
  });

  it.each([
    ['a table outside of the schemas', { privileges: ['SELECT'], schemas: ['public'], tables: ['sales.x'] }],
    ['an identifier of more than 63 bytes', { privileges: ['SELECT'], schemas: ['é'.repeat(32)] }],
    ['a privilege twice', { privileges: ['SELECT', 'SELECT'], schemas: ['public'] }],
  ])('bounds with %s are no bounds', (_name, scope) => {
    expect(PostgresScope.safeParse(scope).success).toBe(false);
  });

  it.each([
    { settings: {}, refuses: undefined },
    { settings: { agent_host: 'replicas' }, refuses: 'agent_host' },
    // HAProxy and its like: another port of the same host leads to standbys.
    { settings: { agent_port: 5001 }, refuses: 'agent_port' },
    { settings: { agent_host: 'proxy', standbys: [] }, refuses: undefined },
    { settings: { agent_host: 'replicas', standbys: ['env:A', 'env:B'] }, refuses: undefined },
  ])('says of agents that are sent to another server what is there: $settings', ({ settings, refuses }) => {
    const integration = PostgresIntegrationSettings.parse({ admin: 'env:ADMIN', ...settings });
    const wrong = postgresDefinition.settingsProblem?.(integration);
    expect(wrong?.key).toBe(refuses);
    if (refuses !== undefined)
      expect(wrong?.problem).toMatch(/list under "standbys" .* or write "standbys: \[\]"/);
  });

  it.each([
    { url: 'db', refuses: false },
    { url: 'a,b', refuses: false },
    { url: 'a,b', attributes: 'primary', refuses: false },
    { url: 'a,b', attributes: 'any', refuses: true },
    { url: 'a,b', attributes: 'prefer-standby', refuses: true },
    { url: 'a,b', attributes: 'any', standbys: ['env:A', 'env:B'], refuses: false },
    { url: 'a,b', attributes: 'any', standbys: [], refuses: false },
    { url: 'db', standbys: ['env:A'], refuses: false },
    { reference: 'env:A', url: 'db', attributes: 'standby', standbys: ['env:A'], refuses: false },
    { reference: 'env:A', url: 'a,b', standbys: ['env:A'], refuses: true },
  ])('finds an admin URL that lets agents use standbys, and one URL for several: %j', (one) => {
    const { reference = 'env:ADMIN', url, attributes, standbys, refuses } = one;
    const settings = { admin: 'env:ADMIN', ...(standbys !== undefined && { standbys }) };
    const value = `postgres://admin:hunter2@${url}/shop${attributes === undefined ? '' : `?target_session_attrs=${attributes}`}`;
    const problem = postgresDefinition.secretProblem?.(value, { settings, reference });
    expect(problem !== undefined).toBe(refuses);
    expect(problem ?? '').not.toContain('hunter2');
    if (refuses) expect(problem).toMatch(/^the connection URL that it leads to names several hosts/);
  });

  it('counts standbys among the secrets', () => {
    const settings = { admin: 'env:ADMIN', standbys: ['env:A', 'file:/b'] };
    expect(postgresDefinition.secretReferences(settings)).toEqual(['env:ADMIN', 'env:A', 'file:/b']);
    const nine = Array.from({ length: 9 }, (_, index) => `env:S${index}`);
    for (const standbys of [nine, ['env:A', 'env:A'], ['postgres://a']])
      expect(PostgresIntegrationSettings.safeParse({ ...settings, standbys }).success).toBe(false);
  });

  it('takes the admin credential by reference only', () => {
    const parsed = PostgresIntegrationSettings.safeParse({ admin: 'postgres://admin:hunter2@db/orders' });
    expect(parsed.success).toBe(false);
    expect(parsed.error?.message).not.toContain('hunter2');
  });
});
