/** `mayfly sessions`: who is at work in the organization, and an end for those who should not be. */
import { http, mostSessions, User, Uuid, type SessionView } from '@mayfly/contracts';
import { Option, type Command } from 'commander';
import type { z } from 'zod';
import { advising, maybeDone, onlyFor } from '../advice.ts';
import type { CommandContext } from '../command-context.ts';
import { usageFailure } from '../failure.ts';
import { clockTime, relativeTime } from '../output/times.ts';

const { closeSession, listSessions } = http.administration;

interface SessionsOptions {
  readonly people?: boolean;
  readonly user?: string;
  readonly json?: boolean;
}

interface CloseOptions {
  readonly reason: string;
  readonly json?: boolean;
}

const administrator = onlyFor('an administrator');

export function registerSessions(program: Command, context: CommandContext): void {
  const command = program
    .command('sessions')
    .description('list live sessions of the organization, or end one (administrators)')
    .addOption(new Option('--people', 'those of people alone'))
    .option('--user <name>', 'those of this user, and of agents that act on behalf of this user')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Examples:
  mayfly sessions
  mayfly sessions --user ada@example.com
  mayfly sessions close 0199a3c4-7d1e-7b3a-9f10-2c5d8e6b4a21 --reason 'lost laptop'`,
    )
    .action(async ({ people = false, user, json = false }: SessionsOptions, parsed: Command) => {
      const filters = {
        ...(people && { kind: 'person' as const }),
        ...(user !== undefined && { user: argument(User, user, '--user') }),
      };
      const session = await context.openSession('sessions', parsed);
      const sessions: SessionView[] = [];
      let after: string | undefined;
      do {
        const page = await advising(
          session.call(listSessions, { ...filters, after, limit: mostSessions }),
          administrator,
        );
        sessions.push(...page.sessions);
        after = page.next;
      } while (after !== undefined);
      if (json) context.printer.json({ sessions });
      else {
        const now = context.io.now();
        const rows = sessions.map((one) => rowOf(one, now));
        context.printer.table(header, rows, 'There are no live sessions.');
      }
    });
  command
    .command('close')
    .description('end a session, of an agent or of a person, with its leases')
    .argument('<session-id>', 'as `mayfly sessions` lists it')
    .requiredOption('--reason <text>', 'why, for the audit log; its holder is not told')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Its holder may open another one: \`mayfly block\` keeps agents and people out.

Examples:
  mayfly sessions close 0199a3c4-7d1e-7b3a-9f10-2c5d8e6b4a21 --reason 'lost laptop'`,
    )
    .action(async (id: string, { reason }: CloseOptions, parsed: Command) => {
      const { json = false } = parsed.optsWithGlobals<CloseOptions>();
      const session_id = argument(Uuid, id, 'The session id');
      const session = await context.openSession('closeSession', parsed);
      const answer = await advising(session.call(closeSession, { session_id, reason }), {
        ...administrator,
        ...maybeDone('It may have been ended: `mayfly sessions` tells. Asking again is safe.'),
        not_found: '`mayfly sessions` lists those that live.',
      });
      if (json) context.printer.json(answer);
      else {
        const leases = answer.matched === 1 ? '1 lease' : `${answer.matched} leases`;
        context.printer.line(
          answer.closed
            ? `session ${session_id} has ended; ${leases} of it end`
            : `session ${session_id} had ended before; ${leases} of it end`,
        );
      }
    });
}

/** In the form of its kind. Throws a usage failure for what is none. */
function argument(schema: z.ZodType<string>, value: string, what: string): string {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw usageFailure(`${what} ${parsed.error.issues[0]?.message ?? 'is none'}.`);
}

const header = ['SESSION', 'KIND', 'AGENT', 'USER', 'ROLES', 'RULE', 'SINCE', 'UNTIL'];

function rowOf(session: SessionView, now: Date): string[] {
  const roles = [...session.person_roles, ...(session.agent_role === undefined ? [] : [session.agent_role])];
  return [
    session.session_id,
    session.kind,
    session.agent_id,
    session.user ?? '-',
    roles.join(',') || '-',
    session.trust_rule,
    clockTime(session.opened_at),
    relativeTime(session.expires_at, now),
  ];
}
