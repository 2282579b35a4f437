/**
 * I5: nothing crosses organizations: not a lease id, not a listing, not a secret reference, not an error that tells that
 * something exists. Two organizations with integrations and credentials of the same names, agents of the same SPIFFE path
 * and users of the same name, so that everything that could be mixed up has the chance to.
 */
import { randomUUID } from 'node:crypto';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { Refused, waitUntil, type AgentApi } from '@mayfly/stack';
import { agentClaims, openSession, personClaims, wholeStack } from '@mayfly/testing';
import pg from 'pg';
import { v7 as uuidv7 } from 'uuid';

const stack = wholeStack();
const within = { deadlineMs: 20_000 };

/** An agent of each organization, alike in everything but the organization; unlike those of any other test. */
async function twins(): Promise<{ acme: AgentApi; globex: AgentApi; path: string; user: string }> {
  const instance = `twin-${randomUUID()}`;
  const user = `twin-${randomUUID()}@example.com`;
  const [acme, globex] = await Promise.all(
    (['acme', 'globex'] as const).map((org) =>
      openSession(stack, agentClaims({ org, instance, on_behalf_of: user })),
    ),
  );
  if (acme === undefined || globex === undefined) throw new Error('unreachable');
  return { acme, globex, path: `/agent/e2e/orders-report/${instance}`, user };
}

/** The whole problem body, but for what differs from request to request. */
async function refusal(ask: Promise<unknown>): Promise<Record<string, unknown>> {
  try {
    await ask;
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    const { trace_id, ...told } = error.problem;
    expect(trace_id).toMatch(/^[0-9a-f]{32}$/);
    return told;
  }
  throw new Error('It was granted.');
}

const people = (org: string, ...groups: string[]) =>
  openSession(stack, personClaims(groups, { org, email: `${org}-${randomUUID()}@example.com` }));

async function works(url: string, table: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query(`SELECT count(*) FROM public.${table}`);
    return true;
  } catch (error) {
    // Refused by Postgres; anything else (no server, no such table) would prove nothing.
    const { code } = error as { code?: string };
    if (code !== '42501' && code !== '28000' && code !== '28P01') throw error;
    return false;
  } finally {
    await client.end().catch(() => undefined);
  }
}

const inDatabase = (url: string, database: string) => {
  const changed = new URL(url);
  changed.pathname = `/${database}`;
  return changed.href;
};

describe('I5: listings', () => {
  it('of credentials show the own organization alone', async () => {
    const { acme, globex } = await twins();
    const named = async (agent: AgentApi) =>
      (await agent.credentials()).credentials.map(({ credential }) => credential).sort();
    expect(await named(globex)).toEqual([
      'orders-db/globex-only',
      'orders-db/readonly',
      'orders-db/scarce',
      'reports-api/read',
    ]);
    expect(await named(acme)).not.toContain('orders-db/globex-only');
  });

  it('of leases show an agent its own, and an administrator the organization', async () => {
    const { acme, globex, path } = await twins();
    const [ofAcme, ofGlobex] = await Promise.all([
      acme.lease('orders-db/readonly'),
      globex.lease('orders-db/readonly'),
    ]);
    expect(await acme.leases()).toMatchObject([
      { lease_id: ofAcme.lease_id, agent_id: `spiffe://acme.example${path}` },
    ]);
    expect(await globex.leases()).toMatchObject([
      { lease_id: ofGlobex.lease_id, agent_id: `spiffe://globex.example${path}` },
    ]);
    const administrator = await people('globex', 'administrators');
    const seen = await administrator.leases('all');
    expect(seen.map(({ lease_id }) => lease_id)).toContain(ofGlobex.lease_id);
    expect(seen.filter(({ agent_id }) => !agent_id.startsWith('spiffe://globex.example/'))).toEqual([]);
  });

  it('continue after a lease id of the other organization as after one that does not exist', async () => {
    const { acme, globex } = await twins();
    const own = await acme.lease('orders-db/readonly');
    const other = await globex.lease('orders-db/readonly');
    // Keyset: both ids are newer than the own lease.
    const after = (id: string) => acme.call('GET', `/v1/leases?state=all&after=${id}`);
    expect(await after(other.lease_id)).toEqual(await after(uuidv7()));
    expect(JSON.stringify(await after(uuidv7()))).toContain(own.lease_id);
  });
});

describe('I5: asking for a credential', () => {
  it.each([
    ['globex', 'orders-db/writer'],
    ['globex', 'orders-db/limited'],
    ['globex', 'orders-db/approved-writer'],
    ['globex', 'down-db/readonly'],
    ['acme', 'orders-db/globex-only'],
  ] as const)('%s is told of %s what it is told of a name that nobody has', async (org, credential) => {
    const agent = await openSession(stack, agentClaims({ org }));
    const ask = async (name: string, request: { scope?: object; ttl_seconds?: number } = {}) =>
      JSON.parse(
        JSON.stringify(await refusal(agent.lease(name, request))).replaceAll(name, '<asked>'),
      ) as object;
    const unknown = credential.replace(/.$/, 'q');
    const answer = await ask(credential);
    expect(answer).toMatchObject({ code: 'not_found', status: 404 });
    expect(answer).toEqual(await ask(unknown));
    // Nor do the request's other parts tell: they are not held against bounds that the asker may not know.
    const odd = { scope: { everything: true }, ttl_seconds: 86_400 };
    expect(await ask(credential, odd)).toEqual(await ask(unknown, odd));
  });

  it('counts the own organization alone against limits, and its own Idempotency-Keys', async () => {
    const { acme, globex } = await twins();
    const headers = { 'idempotency-key': randomUUID() };
    const ofAcme = await acme.lease('orders-db/scarce', {}, headers);
    const ofGlobex = await globex.lease('orders-db/scarce', {}, headers);
    const states = async (agent: AgentApi) => (await agent.leases()).map(({ state }) => state);
    expect([await states(acme), await states(globex)]).toEqual([['active'], ['active']]);
    expect(await refusal(globex.lease('orders-db/scarce'))).toMatchObject({ code: 'limit_exceeded' });
    await Promise.all([acme.giveBack(ofAcme.lease_id), globex.giveBack(ofGlobex.lease_id)]);
  });
});

describe("I5: the other organization's lease id", () => {
  let twin: Awaited<ReturnType<typeof twins>>;
  let live: string;
  let ended: string;
  let url: string;

  beforeAll(async () => {
    twin = await twins();
    const lease = await twin.acme.postgresLease('orders-db/readonly');
    [live, url] = [lease.lease_id, lease.secret.url];
    ended = (await twin.acme.lease('orders-db/readonly')).lease_id;
    await twin.acme.giveBack(ended);
  });

  it.each<[string, string, (id: string) => [path: string, body?: object]]>([
    ['reading', 'GET', (id) => [`/v1/leases/${id}`]],
    ['giving back', 'DELETE', (id) => [`/v1/leases/${id}`]],
    ['reporting a use', 'POST', (id) => [`/v1/leases/${id}/uses`, { action: 'select' }]],
  ])('is as good as one that does not exist, for %s', async (_what, method, request) => {
    const administrator = await people('globex', 'administrators');
    for (const asker of [twin.globex, administrator]) {
      const tell = (id: string) => refusal(asker.call(method, ...request(id)));
      const unknown = await tell(uuidv7());
      expect(unknown).toMatchObject({ code: 'not_found' });
      expect(await tell(live)).toEqual(unknown);
      expect(await tell(ended)).toEqual(unknown);
    }
    expect(await works(url, 'orders')).toBe(true);
    expect(await twin.acme.leases()).toMatchObject([{ lease_id: live, state: 'active' }]);
  });

  it('is as good as one that does not exist, for the timeline', async () => {
    for (const group of ['administrators', 'auditors']) {
      const asker = await people('globex', group);
      const tell = (id: string) => refusal(asker.call('GET', `/v1/audit/leases/${id}`));
      const unknown = await tell(uuidv7());
      expect(unknown).toMatchObject({ code: 'not_found' });
      expect(await tell(live)).toEqual(unknown);
      expect(await tell(ended)).toEqual(unknown);
    }
  });
});

describe('I5: an agent of the same path in another trust domain', () => {
  it('is another agent: revoking the one leaves the other alone', async () => {
    const { acme, globex, path } = await twins();
    const lease = await acme.postgresLease('orders-db/readonly');
    await globex.lease('orders-db/readonly');
    const administrator = await people('globex', 'administrators');
    const revoke = (id: string) => revocation(administrator, 'agent', id);
    // It can't be named there; the words are those for a trust domain that nobody has.
    const foreign = await refusal(revoke(`spiffe://acme.example${path}`));
    expect(foreign).toMatchObject({ code: 'invalid_request' });
    expect(await refusal(revoke(`spiffe://nobody.example${path}`))).toEqual(foreign);
    expect(await acme.leases()).toMatchObject([{ lease_id: lease.lease_id, state: 'active' }]);
    expect(await revoke(`spiffe://globex.example${path}`)).toMatchObject({ matched: 1 });
    expect(await globex.leases()).toEqual([]);
    expect(await works(lease.secret.url, 'orders')).toBe(true);
  });
});

describe('I5: introspection', () => {
  it('tells a tool nothing of a token of the other organization', async () => {
    const { acme, globex } = await twins();
    const [ofAcme, ofGlobex] = await Promise.all([
      acme.lease('reports-api/read', { scope: { scopes: ['read:reports:q3'] } }),
      globex.lease('reports-api/read', { scope: { scopes: ['read:reports:q3'] } }),
    ]);
    const tokenOf = ({ secret }: { secret: Record<string, unknown> }) => String(secret['token']);
    expect(await introspection(acme, tokenOf(ofAcme))).toMatchObject({ active: true, organization: 'acme' });
    expect(await introspection(globex, tokenOf(ofGlobex))).toMatchObject({ active: true });
    expect(await introspection(globex, tokenOf(ofAcme))).toEqual({ active: false });
    expect(await introspection(acme, tokenOf(ofGlobex))).toEqual({ active: false });
  });
});

describe('I5: an administrator who revokes', () => {
  it.each([
    ['lease', (_twin: unknown, leaseId: string) => leaseId],
    ['session', ({ globex }: { globex: AgentApi }) => globex.sessionId],
    ['agent', ({ path }: { path: string }) => `spiffe://globex.example${path}`],
    ['user', ({ user }: { user: string }) => user],
    ['credential', () => 'orders-db/readonly'],
    ['integration', () => 'orders-db'],
    ['organization', () => 'globex'],
  ] as const)('by %s reaches the own organization only', async (kind, subjectOf) => {
    const twin = await twins();
    const [ofAcme, ofGlobex] = await Promise.all([
      twin.acme.postgresLease('orders-db/readonly'),
      afterTheFence(() => twin.globex.postgresLease('orders-db/readonly')),
    ]);
    const administrator = await people('globex', 'administrators');
    const { leases } = await revocation(administrator, kind, subjectOf(twin, ofGlobex.lease_id));
    const ids = leases.map(({ lease_id }) => lease_id);
    expect(ids).toContain(ofGlobex.lease_id);
    expect(ids).not.toContain(ofAcme.lease_id);
    await waitUntil('the end', async () => !(await works(ofGlobex.secret.url, 'ledger')), within);
    expect(await works(ofAcme.secret.url, 'orders')).toBe(true);
    expect(await twin.acme.leases()).toMatchObject([{ lease_id: ofAcme.lease_id, state: 'active' }]);
    // The fence is the own organization's too.
    await expect(twin.acme.lease('orders-db/readonly')).resolves.toBeDefined();
  });

  it('by an agent, credential or integration of the other organization is told that there is none, as of any', async () => {
    const twin = await twins();
    const lease = await twin.acme.postgresLease('orders-db/readonly');
    const administrator = await people('globex', 'administrators');
    const tell = (kind: string, id: string) => refusal(revocation(administrator, kind, id));
    const cases = [
      ['agent', `spiffe://acme.example${twin.path}`, `spiffe://a.b${twin.path}`],
      ['credential', 'away-db/scarce', 'zzzzzzz-api/zzzzzzz'],
      ['integration', 'down-db', 'zzzzzzz'],
    ] as const;
    for (const [kind, ofTheOther, ofNobody] of cases) {
      const answer = await tell(kind, ofTheOther);
      expect(answer).toMatchObject({ code: 'invalid_request' });
      expect(answer).toEqual(await tell(kind, ofNobody));
    }
    expect(await works(lease.secret.url, 'orders')).toBe(true);
  });

  it.each(['lease', 'session', 'user'] as const)(
    'by the %s of the other organization finds nothing, as for one that does not exist',
    async (kind) => {
      const twin = await twins();
      const lease = await twin.acme.postgresLease('orders-db/readonly');
      const administrator = await people('globex', 'administrators');
      const id = {
        lease: lease.lease_id,
        session: twin.acme.sessionId,
        user: twin.user,
      }[kind];
      const unknown = {
        lease: uuidv7(),
        session: randomUUID(),
        user: 'nobody',
      };
      const answer = await revocation(administrator, kind, id);
      expect(answer).toMatchObject({ matched: 0, leases: [] });
      expect(told(answer)).toEqual(told(await revocation(administrator, kind, unknown[kind])));
      expect(await works(lease.secret.url, 'orders')).toBe(true);
    },
  );

  it('is refused for the other organization as for one that does not exist', async () => {
    const administrator = await people('globex', 'administrators');
    const answer = await refusal(revocation(administrator, 'organization', 'acme'));
    expect(answer).toMatchObject({ code: 'policy_denied' });
    expect(answer).toEqual(await refusal(revocation(administrator, 'organization', 'initech')));
  });
});

describe('I5: the audit log', () => {
  interface Page {
    readonly events: readonly { organization?: string; type: string; lease_id?: string; seq: number }[];
    readonly next?: number;
  }

  it('shows the own organization alone, whatever is asked for', async () => {
    const twin = await twins();
    const [ofAcme, ofGlobex] = await Promise.all([
      twin.acme.lease('orders-db/readonly'),
      afterTheFence(() => twin.globex.lease('orders-db/readonly')),
    ]);
    const [acme, globex] = await Promise.all([people('acme', 'auditors'), people('globex', 'auditors')]);
    const events = async (auditor: AgentApi, query: string) =>
      ((await auditor.call('GET', `/v1/audit/events?${query}`)) as Page).events;
    await waitUntil(
      'recording both leases',
      async () =>
        (await events(acme, `lease_id=${ofAcme.lease_id}`)).length >= 2 &&
        (await events(globex, `lease_id=${ofGlobex.lease_id}`)).length >= 2,
      within,
    );
    const agentId = encodeURIComponent(`spiffe://acme.example${twin.path}`);
    for (const query of [
      `lease_id=${ofAcme.lease_id}`,
      `trace_id=${ofAcme.trace_id}`,
      `session_id=${twin.acme.sessionId}`,
      `agent_id=${agentId}`,
    ]) {
      expect([query, (await events(acme, query)).length > 0]).toEqual([query, true]);
      expect([query, await events(globex, query)]).toEqual([query, []]);
    }
    for (const [auditor, organization] of [
      [acme, 'acme'],
      [globex, 'globex'],
    ] as const) {
      const seen = await everything(auditor);
      expect(seen.length).toBeGreaterThan(2);
      expect(seen.filter((event) => event.organization !== organization)).toEqual([]);
    }
  }, 30_000);

  it('is continued from a position that belongs to the other without telling of it', async () => {
    const auditor = await people('globex', 'auditors');
    const all = await everything(auditor);
    const [first, second] = all;
    if (first === undefined || second === undefined) throw new Error('There are no events.');
    const page = (await auditor.call('GET', `/v1/audit/events?after=${second.seq - 1}&limit=1`)) as Page;
    expect(page.events).toMatchObject([{ seq: second.seq }]);
  });

  async function everything(auditor: AgentApi): Promise<Page['events'][number][]> {
    const events: Page['events'][number][] = [];
    for (let after = ''; ;) {
      const page = (await auditor.call('GET', `/v1/audit/events?limit=1000${after}`)) as Page;
      events.push(...page.events);
      if (page.next === undefined || page.events.length === 0) return events;
      after = `&after=${page.next}`;
    }
  }
});

describe('I5: a configuration document', () => {
  let document: string;
  let platform: AgentApi;

  beforeAll(async () => {
    platform = await people('acme', 'platform-administrators');
    ({ document } = (await platform.call('GET', '/v1/config')) as { document: string });
  });

  it.each([
    [
      'lets an organization use a secret reference of another',
      (text: string) => text.replace('admin: env:GLOBEX_ADMIN_URL', 'admin: env:ORDERS_ADMIN_URL'),
      /^integrations\[\d+\]\.admin$/,
    ],
    [
      "gives an organization a prefix within another's",
      (text: string) => text.replace("['env:GLOBEX_']", "['env:GLOBEX_', 'env:ORDERS_ADMIN']"),
      /^organizations\[\d+\]\.secret_references/,
    ],
    [
      "gives an organization a prefix around another's",
      (text: string) => text.replace("['env:GLOBEX_']", "['env:GLOBEX_', 'env:ORD']"),
      /^organizations\[\d+\]\.secret_references/,
    ],
    [
      'gives two organizations one trust domain',
      (text: string) => text.replace('trust_domain: globex.example', 'trust_domain: acme.example'),
      /^organizations\[\d+\]\.trust_domain$/,
    ],
    [
      "puts a credential on another organization's integration",
      (text: string) => text.replace('- name: orders-db/globex-only', '- name: down-db/globex-only'),
      /^credentials\[\d+\]\.name$/,
    ],
  ])('is rejected when it %s', async (_what, change, path) => {
    const changed = change(document);
    expect(changed).not.toBe(document);
    const answer = (await platform.call('PUT', '/v1/config', { document: changed })) as {
      outcome: string;
      problems: { path: string; line?: number }[];
    };
    expect(answer).toMatchObject({ outcome: 'rejected' });
    expect(answer.problems.filter((problem) => path.test(problem.path))).not.toEqual([]);
  });
});

describe('I5: a lease', () => {
  it('works in the database of its own organization only', async () => {
    const { acme, globex } = await twins();
    const [ofAcme, ofGlobex] = await Promise.all([
      acme.postgresLease('orders-db/readonly'),
      afterTheFence(() => globex.postgresLease('orders-db/readonly')),
    ]);
    expect([ofAcme.secret.database, ofGlobex.secret.database]).toEqual(['orders', 'globex']);
    expect(await works(ofAcme.secret.url, 'orders')).toBe(true);
    expect(await works(ofGlobex.secret.url, 'ledger')).toBe(true);
    expect(await works(inDatabase(ofAcme.secret.url, 'globex'), 'ledger')).toBe(false);
    expect(await works(inDatabase(ofGlobex.secret.url, 'orders'), 'orders')).toBe(false);
  });
});

/** A grant knows its second only, so one of the same second as a revocation is refused as a conflict. */
async function afterTheFence<T>(ask: () => Promise<T>): Promise<T> {
  for (const end = Date.now() + 10_000; ;) {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof Refused) || error.problem.code !== 'conflict' || Date.now() > end) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** What a revocation tells, but for what is the asker's own: its id, its times, and the subject as it was named. */
function told(answer: object): object {
  const own = ['revocation_id', 'subject', 'asked_at', 'done_at'];
  return Object.fromEntries(Object.entries(answer).filter(([name]) => !own.includes(name)));
}

function revocation(
  administrator: AgentApi,
  kind: string,
  id: string,
): Promise<{ matched: number; leases: { lease_id: string }[] }> {
  return administrator.call('POST', '/v1/revocations', {
    subject: { kind, id },
    reason: 'test',
  }) as Promise<{ matched: number; leases: { lease_id: string }[] }>;
}

async function introspection(tool: AgentApi, token: string): Promise<unknown> {
  const response = await fetch(`${stack.gatewayUrl}/v1/introspect`, {
    method: 'POST',
    headers: { authorization: `Bearer ${tool.sessionToken}` },
    body: new URLSearchParams({ token }),
  });
  return response.json();
}
