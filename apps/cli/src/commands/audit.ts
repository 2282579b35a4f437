/** `mayfly audit`: what happened, as auditors see it. */
import { http, type AuditEvent } from '@mayfly/contracts';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { advising, onlyFor } from '../advice.ts';
import { parseSince } from '../arguments/duration.ts';
import type { CommandContext } from '../command-context.ts';
import { clockTime } from '../output/times.ts';

/** The gateway's bound for a page. */
const pageSize = 1000;
const maxLimit = 100_000;

interface AuditOptions {
  readonly lease?: string;
  readonly agent?: string;
  readonly trace?: string;
  readonly since?: string;
  readonly limit: number;
  readonly json?: boolean;
}

/** Gives the command, to which further ones below it can be added. */
export function registerAudit(program: Command, context: CommandContext): Command {
  return program
    .command('audit')
    .description('read the audit log, oldest first')
    .option('--lease <id>', "one lease's whole life")
    .option('--agent <id>', 'what this agent (a SPIFFE ID) did')
    .option('--trace <id>', 'what has this trace id')
    .addOption(
      new Option(
        '--since <when>',
        'how long ago (90s, 15m, 1h, 7d) or when (RFC 3339); default without a filter: 1h',
      ).argParser((text) => parseSince(text, context.io.now())),
    )
    .addOption(new Option('--limit <number>', 'at most this many events').argParser(parseLimit).default(100))
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Examples:
  mayfly audit --since 15m
  mayfly audit --lease 0199a3c4-7d1e-7b3a-9f10-2c5d8e6b4a21
  mayfly audit --agent spiffe://acme.example/agent/demo/report/agent-1 --since 1h --json`,
    )
    .action(async (options: AuditOptions, command: Command) => {
      const session = await context.openSession('audit', command);
      const { lease, agent, trace, json = false, limit } = options;
      const unfiltered = [lease, agent, trace].every((filter) => filter === undefined);
      const since = options.since ?? (unfiltered ? parseSince('1h', context.io.now()) : undefined);
      const filters = { lease_id: lease, agent_id: agent, trace_id: trace, since };
      const events: AuditEvent[] = [];
      let after: number | undefined;
      do {
        const page = await advising(
          session.call(http.administration.queryAudit, {
            ...filters,
            after,
            limit: Math.min(pageSize, limit - events.length),
          }),
          onlyFor('an auditor or an administrator'),
        );
        events.push(...page.events);
        after = page.events.length === 0 ? undefined : page.next;
      } while (after !== undefined && events.length < limit);
      if (json) context.printer.json({ events, ...(after === undefined ? {} : { next: after }) });
      else context.printer.table(header, events.map(rowOf), 'Nothing was recorded that matches.');
      if (after !== undefined) context.printer.note(`there are more; these are the first ${events.length}`);
    });
}

function parseLimit(text: string): number {
  const limit = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (limit < 1 || limit > maxLimit)
    throw new InvalidArgumentError(`It must be a number from 1 to ${maxLimit}.`);
  return limit;
}

const header = ['TIME', 'EVENT', 'CREDENTIAL', 'LEASE', 'AGENT', 'TRACE', 'REASON'];

function rowOf(event: AuditEvent): string[] {
  return [
    clockTime(event.time),
    event.type.replace(/^dev\.mayfly\./, '').replace(/\.v1$/, ''),
    event.credential ?? '-',
    event.lease_id ?? '-',
    event.agent_id ?? '-',
    event.trace_id ?? event.event_trace_id ?? '-',
    event.reason ?? '',
  ];
}
