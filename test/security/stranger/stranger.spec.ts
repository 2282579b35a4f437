/**
 * I12: no stranger can stop issuance. With 512 connections from two addresses that never finish, one of which honest agents share,
 * every mint, give-back, revocation and heartbeat succeeds all the time, and the gateway's memory stays bounded.
 */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { waitUntil } from '@mayfly/stack';
import { openSession, personClaims, startWholeStack, type TestStack } from '@mayfly/testing';
import { beginHonestWork, kinds, quantile, type HonestWork, type Kind } from './honest-work.ts';
import { comeAsStranger, habits, type Habit } from './stranger.ts';
import { mintThroughProxy } from './through-proxy.ts';

const sockets = 512;
/** The first is where the honest come from too. */
const addresses = ['127.0.0.1', '127.0.0.2'];
/** Rounds of honest work that must have succeeded while the stranger was there; more of them by hand, for a longer look. */
const rounds = Number(process.env['MAYFLY_STRANGER_ROUNDS'] ?? 20);
const beats = 3;
const within = { deadlineMs: Math.max(20_000, rounds * 400) };
const testMs = 2 * within.deadlineMs;
/** Most memory that the gateway may ever take: of the 512 MiB that `deploy/compose` gives it, a quarter is left. */
const mostMib = 384;
/** Trusted by the gateway of the last tests. */
const proxy = '127.0.0.9';
const table: string[] = [];

describe('a stranger with 512 connections that never finish', () => {
  let stack: TestStack;
  let work: HonestWork;

  const residentMib = () => {
    const status = readFileSync(`/proc/${String(stack.services.gateway.pid)}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) / 1_024;
  };
  const metric = async (name: string): Promise<number> => {
    const text = await (await fetch(`${stack.services.gateway.url}/metrics`)).text();
    return Number(new RegExp(`^${name}\\S* (\\d+)`, 'm').exec(text)?.[1] ?? 0);
  };
  /** The honest have been served on their connections: who comes new amid a flood of connections from the same address has no right to stay. */
  const untilKnown = (wanted: readonly Kind[] = kinds) => {
    const begun = new Set<string>();
    return waitUntil(
      'the honest to be known',
      () => {
        const { took } = work.take();
        for (const kind of wanted) if (took[kind].length > 0) begun.add(kind);
        return Promise.resolve(begun.size === wanted.length);
      },
      within,
    );
  };
  /** Has the stranger there while so much is done; tells how it went. */
  const bearing = async (name: string, done: readonly Habit[]): Promise<void> => {
    const stranger = await comeAsStranger({ gatewayUrl: stack.gatewayUrl, addresses, sockets, habits: done });
    try {
      const failures: string[] = [];
      const took: Record<string, number[]> = {};
      work.take();
      let highestMib = 0;
      await waitUntil(
        `${rounds} rounds`,
        async () => {
          const { took: now, failed } = work.take();
          failures.push(...failed);
          for (const kind of kinds) (took[kind] ??= []).push(...now[kind]);
          highestMib = Math.max(highestMib, residentMib());
          const least = Math.min(...['give back', 'revoke'].map((kind) => took[kind]?.length ?? 0));
          return (least >= rounds && (took['heartbeat']?.length ?? 0) >= beats) || failures.length > 0;
        },
        within,
      );
      const p99 = kinds.map((kind) => `${kind} ${quantile(took[kind] ?? [], 0.99).toFixed(0)} ms`).join(', ');
      table.push(`${name}: p99 ${p99}; ${stranger.opened} connections, ${highestMib.toFixed(0)} MiB`);
      expect(failures).toEqual([]);
      expect(highestMib).toBeLessThan(mostMib);
    } finally {
      stranger.leave();
    }
  };

  beforeAll(async () => {
    stack = await startWholeStack();
    work = await beginHonestWork(stack);
    await untilKnown();
  }, 60_000);
  afterAll(async () => {
    await work.stop();
    await stack.stop();
    process.stdout.write(`${table.map((line) => `  ${line}`).join('\n')}\n`);
  });

  it.each(habits)('that has $name stops nothing', (habit) => bearing(habit.name, [habit]), testMs);

  it(
    'that does all of it, with more connections than it may have, stops nothing and is cut',
    async () => {
      await work.stop();
      await stack.services.gateway.restart({
        MAYFLY_MAX_CONNECTIONS: '300',
        MAYFLY_MAX_CONNECTIONS_PER_SOURCE: '200',
        MAYFLY_MAX_UNREAD_BODIES: '64',
        MAYFLY_TRUSTED_PROXIES: proxy,
      });
      // There is no room for two documents of one address here: whichever comes faster stays.
      work = await beginHonestWork(stack, { uploads: false });
      await untilKnown(kinds.filter((kind) => kind !== 'upload'));
      await bearing('all of it', habits);
      expect(await metric('mayfly_cut_connections_total')).toBeGreaterThan(0);
      expect(await metric('mayfly_open_connections')).toBeLessThanOrEqual(300);
    },
    testMs,
  );

  it(
    'has one address in policy and audit, however a proxy writes it',
    async () => {
      const administrator = await openSession(stack, personClaims(['auditors', 'platform-administrators']));
      const { document } = (await administrator.call('GET', '/v1/config')) as { document: string };
      const range = 'context.source_ip.isInRange(ip("203.0.113.0/24"))';
      const forbidding = `${document}\npolicies: |\n  forbid (principal, action, resource) when { ${range} };\n`;
      expect(await administrator.call('PUT', '/v1/config', { document: forbidding })).toMatchObject({
        outcome: 'applied',
      });
      const agent = await openSession(stack);
      const asked = { gatewayUrl: stack.gatewayUrl, proxy, credential: 'reports-api/read' };
      const mint = (forwardedFor: string) =>
        mintThroughProxy({ ...asked, forwardedFor, sessionToken: agent.sessionToken });
      const forbidden = ['203.0.113.7', '203.0.113.7:4711', '::FFFF:203.0.113.7', '[::ffff:cb00:7107]:80'];
      for (const written of forbidden)
        expect([written, (await mint(written)).status]).toEqual([written, 403]);
      expect((await mint('192.0.2.1, 203.0.113.7')).status).toBe(403);
      for (const written of ['203.0.113.7, unknown', '203.0.113.7, ', '0313.0.113.7'])
        expect([written, (await mint(written)).status]).toEqual([written, 400]);
      const minted = await mint('[2001:0DB8:0:0::7]:443');
      expect(minted.status).toBe(201);

      const seen = async () => {
        const { events } = (await administrator.call(
          'GET',
          `/v1/audit/events?session_id=${agent.sessionId}`,
        )) as { events: { type: string; data: { source_ip?: string } }[] };
        return events.filter(({ type }) => /denied|intended/.test(type)).map(({ data }) => data.source_ip);
      };
      await waitUntil(
        'the audit log to tell',
        async () => (await seen()).length === forbidden.length + 2,
        within,
      );
      expect(new Set(await seen())).toEqual(new Set(['203.0.113.7', '2001:db8::7']));
    },
    testMs,
  );

  it('has ended no session that has to be heard of', async () => {
    expect(await work.beating.leases()).toEqual([]);
    expect((await fetch(`${stack.services.gateway.url}/readyz`)).status).toBe(200);
  });
});
