/** One run: a stack under load, one fault after the other, the checks after each and at the end. */
import { cp, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  checkAccountedFor,
  checkChain,
  checkNoDeadLetters,
  checkNothingTwice,
  checkSecretsSwept,
  settle,
  type Check,
} from './checks/accounting.ts';
import { countDeadLetters } from './checks/dead-letters.ts';
import { FaultLog, graceMs } from './checks/fault-log.ts';
import { checkNothingUpstream } from './checks/nothing-upstream.ts';
import { OwnStalls } from './checks/own-stalls.ts';
import {
  checkHabitsTakeHold,
  checkHonestNotLimited,
  checkNoHostileWork,
  figuresByHabit,
  figuresOf,
  type HabitFigures,
  type PartyFigures,
} from './checks/parties.ts';
import { Register } from './checks/register.ts';
import { StillWorks } from './checks/still-works.ts';
import { UpstreamWatch } from './checks/upstream-watch.ts';
import { FaultNotPossible, type Fault, type Scene } from './faults/fault.ts';
import { agentClaims, openSession } from './load/agent.ts';
import { habitsAt } from './load/hostile/habits.ts';
import { HostileLessees } from './load/hostile/hostile-lessees.ts';
import { HttpClient } from './load/http-client.ts';
import { Ledger, type CredentialKind, type Party } from './load/ledger.ts';
import { Load } from './load/load.ts';
import { Random } from './load/random.ts';
import { rowsOf, type Episode, type Row } from './rows.ts';
import { startChaosStack, type ChaosStackOptions } from './stack/chaos-stack.ts';

export interface Report {
  /** Of a run that failed: the folder with the logs of its services. */
  readonly logs?: string;
  readonly rows: readonly Row[];
  readonly checks: readonly Check[];
  readonly issued: number;
  /** Per second: asked for over the whole run; issued over the whole run, and while nothing was broken. */
  readonly askedRate: number;
  readonly rate: number;
  readonly healthyRate: number;
  readonly tried: number;
  readonly sessionsCut: number;
  readonly worstOrphanMs: number;
  /** What agents were told instead of a credential, by code, with how often. */
  readonly failures: Readonly<Record<Party, ReadonlyMap<string, number>>>;
  readonly parties: Readonly<Record<Party, PartyFigures>>;
  readonly habits: readonly HabitFigures[];
  /** Ended leases of which something was still to be removed upstream: at the end of the run, and the most at once. */
  readonly cleanUps: Readonly<Record<Party, { readonly now: number; readonly most: number }>>;
  /** How often and how long the suite itself did not run. */
  readonly stalls: { readonly count: number; readonly totalMs: number };
}

export interface RunOptions extends ChaosStackOptions {
  readonly seed: number;
  readonly plan: Iterable<Fault>;
  /** Mints per second to try for, and how many agents ask. */
  readonly rate: number;
  readonly agents: number;
  /** Which part of the agents is hostile, from 0 to 1; default none. */
  readonly hostileShare?: number;
  /** Names of what they do; default everything that the server lets them. */
  readonly habits?: readonly string[];
  /** Which part of the credentials leaves something upstream; default a third. */
  readonly postgresShare?: number;
  /** What must have been renewed at least once; a run that is too short for it does not say. */
  readonly mustRenew?: readonly CredentialKind[];
  /** No fault begins after this; milliseconds. */
  readonly longestMs: number;
  readonly progress: (line: string) => void;
}

const ttlSeconds = [2, 6] as const;
const recoveredWithinMs = 10_000;
/** How long clean-ups that were hindered are retried before what is left counts, from when nobody asks any more. */
const cleanUpWithinMs = 60_000;
/** Far longer than any takes. */
const longestFaultMs = 180_000;

export async function runPlan(options: RunOptions): Promise<Report> {
  const chaos = await startChaosStack(options);
  const { stack, timers } = chaos;
  const ledger = new Ledger();
  const faults = new FaultLog();
  const stalls = new OwnStalls(faults);
  const http = new HttpClient(stack.gatewayUrl);
  const register = new Register(stack.postgres.databaseUrl);
  const watch = new UpstreamWatch(register, faults, timers.orphanBoundMs);
  const random = new Random(options.seed);
  const hostileShare = options.hostileShare ?? 0;
  const habits = habitsAt(chaos.serverVersion, options.habits);
  // Hostile agents have chance of their own, so that what honest ones meet does not depend on them.
  const lessees = new HostileLessees(habits, new Random(options.seed + 1));
  const stillWorks = new StillWorks({
    ledger,
    faults,
    http,
    register,
    toolToken: toolSession(http, chaos.stack.issuer),
  });
  const load = new Load({
    http,
    issuer: stack.issuer,
    ledger,
    random,
    rate: options.rate,
    agents: options.agents,
    hostileShare,
    lessees,
    postgresShare: options.postgresShare ?? 0.35,
    ttlSeconds,
    onRevoked: (credential) => void stillWorks.checkRevoked(credential),
  });
  const scene: Scene = { ...chaos, load, ledger, register, faults, random, http };
  try {
    if (hostileShare > 0 && habits.length === 0)
      throw new Error('this server lets none of these habits happen');
    watch.start();
    stillWorks.start();
    load.start();
    if (options.keep === true) options.progress(`Everything is in ${stack.dataDirectory}`);
    const begun = Date.now();
    const episodes: Episode[] = [];
    for (const fault of options.plan) {
      if (Date.now() - begun > options.longestMs) break;
      const episode = await suffer(scene, fault);
      episodes.push(episode);
      options.progress(line(episode, Date.now() - begun));
    }
    await load.untilIssued(recoveredWithinMs);
    const ended = Date.now();
    const { asked } = load;
    await load.stop();
    const settled = await settle(
      register,
      Math.max(timers.orphanBoundMs + timers.ackWaitMs + 15_000, hostileShare > 0 ? cleanUpWithinMs : 0),
    );
    await untilTried(stillWorks);
    await lessees.untilGivenUp();
    await watch.stop();
    await stillWorks.stop();
    stalls.stop();
    const accounted = await checkAccountedFor(register, ledger);
    const leases = await register.leases();
    const checks: Check[] = [
      settled,
      accounted,
      {
        name: 'nothing works after its time',
        problems: stillWorks.violations,
        note: `${String(stillWorks.tried)} tried`,
      },
      {
        name: 'every credential was tried after its time',
        problems: stillWorks.pending === 0 ? [] : [`${String(stillWorks.pending)} were not`],
      },
      checkNoHostileWork(lessees.all(), leases, faults),
      checkHabitsTakeHold(lessees.all()),
      { name: 'no session outlives its lease', problems: watch.sessions.violations },
      { name: 'no orphan outlives its time, no role its lease', problems: watch.violations },
      checkHonestNotLimited(load.failures.honest),
      {
        name: 'leases were renewed, in place and by a successor',
        problems: [
          ...(options.mustRenew ?? [])
            .filter((kind) => load.renewals[kind] === 0)
            .map((kind) => `none of kind ${kind}`),
        ],
        note: `${String(load.renewals.postgres)} and ${String(load.renewals.jwt)}`,
      },
      await checkNothingUpstream(stack.ordersAdminUrl),
      await checkNothingTwice(register),
      checkNoDeadLetters(await countDeadLetters(stack)),
      checkChain(stack),
      await checkSecretsSwept(stack, register, ledger),
    ];
    const rows = rowsOf(episodes, leases, accounted.lost, scene, watch);
    return {
      ...(isRed(rows, checks) && { logs: await keepLogs(stack.dataDirectory) }),
      rows,
      checks,
      issued: ledger.all().length,
      askedRate: (asked / (ended - begun)) * 1000,
      ...ratesOf(ledger, faults, begun, ended),
      tried: stillWorks.tried,
      sessionsCut: stillWorks.cut,
      worstOrphanMs: watch.worstAgeMs,
      failures: load.failures,
      parties: {
        honest: figuresOf('honest', leases, faults, watch.sessions),
        hostile: figuresOf('hostile', leases, faults, watch.sessions),
      },
      habits: figuresByHabit(lessees.all(), leases, faults),
      cleanUps: watch.cleanUps,
      stalls: { count: stalls.count, totalMs: stalls.totalMs },
    };
  } finally {
    stalls.stop();
    await load.stop();
    lessees.stop();
    await watch.stop();
    await stillWorks.stop();
    http.close();
    await register.close();
    await chaos.stop();
  }
}

function isRed(rows: readonly Row[], checks: readonly Check[]): boolean {
  return (
    rows.some(({ verdict }) => verdict === 'FAILED') || checks.some(({ problems }) => problems.length > 0)
  );
}

/** The data of a run go with it; its logs are all that tells why it failed. */
async function keepLogs(dataDirectory: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'mayfly-chaos-logs-'));
  await cp(join(dataDirectory, 'logs'), folder, { recursive: true });
  return folder;
}

/** One fault, and whether all is well again in time. */
async function suffer(scene: Scene, fault: Fault): Promise<Episode> {
  const { load, register, faults } = scene;
  const episode: Episode = {
    fault: fault.name,
    start: Date.now(),
    problems: [],
    notPossible: undefined,
    tookMs: [],
  };
  let mended = Date.now();
  try {
    await withinMs(
      longestFaultMs,
      fault.name,
      fault.run(scene, async (work) => {
        const window = faults.begin(fault.name);
        try {
          return await work();
        } finally {
          faults.end(window);
          mended = window.end;
        }
      }),
    );
  } catch (error) {
    faults.endOpen();
    if (error instanceof FaultNotPossible) episode.notPossible = error.message;
    else episode.problems.push(error instanceof Error ? error.message : String(error));
  }
  episode.tookMs.push(Date.now() - episode.start);
  const overdue = await untilCaughtUp(register, mended);
  episode.tookMs.push(Date.now() - mended);
  if (overdue > 0)
    episode.problems.push(`${String(overdue)} leases had not ended ${String(graceMs / 1000)} s after it`);
  for (const kind of load.kinds)
    if (!(await load.untilIssued(recoveredWithinMs, kind)))
      episode.problems.push(
        `nothing of kind ${kind} was issued to honest agents within ${String(recoveredWithinMs / 1000)} s after it`,
      );
  episode.tookMs.push(Date.now() - mended);
  return episode;
}

/** Rejects when `work` takes longer: a suite that hangs tells nothing. */
async function withinMs(deadlineMs: number, name: string, work: Promise<void>): Promise<void> {
  const over = new AbortController();
  const tooLong = sleep(deadlineMs, undefined, { signal: over.signal }).then(() => {
    throw new Error(`${name} was not over after ${String(deadlineMs / 1000)} s`);
  });
  tooLong.catch(() => undefined);
  await Promise.race([work, tooLong]).finally(() => over.abort());
}

/** What should have ended by then has; answers with how many have not when the grace is over. */
async function untilCaughtUp(register: Register, mended: number): Promise<number> {
  for (;;) {
    const overdue = await register.overdue(mended).catch(() => Infinity);
    if (overdue === 0 || Date.now() > mended + graceMs) return overdue;
    await sleep(50);
  }
}

/** All have been tried, or nobody has got on with it for a while. */
async function untilTried(stillWorks: StillWorks): Promise<void> {
  let before = Infinity;
  let since = Date.now();
  while (stillWorks.pending > 0 && Date.now() < since + 4 * graceMs) {
    if (stillWorks.pending < before) since = Date.now();
    before = stillWorks.pending;
    await sleep(100);
  }
}

function ratesOf(
  ledger: Ledger,
  faults: FaultLog,
  begun: number,
  ended: number,
): { rate: number; healthyRate: number } {
  let brokenMs = 0;
  let issuedMeanwhile = 0;
  for (const { start, end } of faults.windows()) {
    brokenMs += Math.max(0, Math.min(end, ended) - start);
    issuedMeanwhile += ledger.receivedBetween(start, end);
  }
  const issued = ledger.receivedBetween(begun, ended);
  return {
    rate: (issued / (ended - begun)) * 1000,
    healthyRate: ((issued - issuedMeanwhile) / Math.max(1, ended - begun - brokenMs)) * 1000,
  };
}

function line({ fault, problems, notPossible, tookMs }: Episode, elapsedMs: number): string {
  const outcome = problems.length > 0 ? `FAILED: ${problems.join('; ')}` : (notPossible ?? 'ok');
  return `${(elapsedMs / 1000).toFixed(0).padStart(4)} s  ${fault}: ${outcome}  [${tookMs.map((took) => (took / 1000).toFixed(1)).join(' ')}]`;
}

/** A session to introspect with; opened again every few minutes. */
function toolSession(http: HttpClient, issuer: Parameters<typeof openSession>[1]): () => Promise<string> {
  let opened: Promise<{ token: string }> | undefined;
  let openedAt = 0;
  return async () => {
    if (opened === undefined || Date.now() - openedAt > 300_000) {
      openedAt = Date.now();
      opened = openSession(http, issuer, agentClaims('tool'));
      opened.catch(() => (opened = undefined));
    }
    return (await opened).token;
  };
}
