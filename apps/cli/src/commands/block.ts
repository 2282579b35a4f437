/** `mayfly block`, `unblock` and `blocks`: no new lease for a subject until it is unblocked. */
import { BlockSubject, http, mostBlocks, type Block } from '@mayfly/contracts';
import { Option, type Command } from 'commander';
import { advising, maybeDone, onlyFor, type Advice } from '../advice.ts';
import { parseUntil, waitTimeout } from '../arguments/duration.ts';
import { addSubjectOptions, subjectsOf, subjectText, type SubjectOptions } from '../arguments/subject.ts';
import type { Session } from '../api/session.ts';
import type { CommandContext } from '../command-context.ts';
import { failureOf, usageFailure } from '../failure.ts';
import { clockTime, relativeTime } from '../output/times.ts';
import { printOutcomes } from '../revocations/outcomes.ts';
import { waitForRevocation } from '../revocations/wait.ts';

const { addBlock, listBlocks, removeBlock } = http.administration;

interface BlockOptions extends SubjectOptions {
  readonly reason: string;
  readonly until?: number;
  readonly revoke?: boolean;
  readonly wait?: boolean;
  readonly timeout: number;
  readonly json?: boolean;
}

export function registerBlock(program: Command, context: CommandContext): void {
  const command = program.command('block').description('grant a subject no new lease until it is unblocked');
  addSubjectOptions(command, {
    agent: 'this agent (a SPIFFE ID)',
    user: 'this user, and whoever acts on behalf of this user',
    session: 'this session',
    credential: 'this credential, for everybody',
    integration: 'every credential of this integration, for everybody',
  });
  command
    .requiredOption('--reason <text>', 'why, for the audit log; the blocked are not told')
    .addOption(
      new Option(
        '--until <when>',
        'unblock by itself: after how long (2h, 7d) or when (RFC 3339); default: never',
      ).argParser((text) => parseUntil(text, context.io.now())),
    )
    .option('--revoke', 'end the leases that it has, too')
    .option('--wait', 'with --revoke: follow it until all have ended')
    .addOption(waitTimeout())
    .option('--json', 'print JSON; with --wait: JSON lines')
    .addHelpText(
      'after',
      `
Mints that are under way come to nothing, renewals are refused, agents open no session. A person who is blocked, an administrator
too, has no session any more and opens none. Leases that there are go on, unless --revoke ends them. Exit statuses of --wait are those of \`mayfly revoke\`.

Examples:
  mayfly block --user ada@example.com --reason 'lost laptop' --revoke --wait
  mayfly block --agent spiffe://acme.example/agent/demo/report/agent-1 --reason 'acts strangely' --until 2h
  mayfly block --integration orders-db --reason 'migration tonight' --until 2026-11-21T06:00:00Z`,
    )
    .action((options: BlockOptions, parsed: Command) => block(context, parsed, options));
}

async function block(context: CommandContext, parsed: Command, options: BlockOptions): Promise<void> {
  const { reason, until, revoke = false, wait = false, timeout, json = false } = options;
  const subject = blockSubjectOf(options);
  if (subject === undefined) throw nothingNamed('block');
  if (wait && !revoke) throw usageFailure('--wait is for --revoke; a block is there at once.');
  const open = (signal?: AbortSignal) => context.openSession('block', parsed, signal);
  const session = await open();
  const answer = await advising(
    session.call(addBlock, { subject, reason, for_seconds: until, revoke }),
    blockAdvice,
  );
  if (json && wait) context.printer.jsonLine({ type: 'block', block: answer.block });
  else if (json) context.printer.json(answer);
  else
    context.printer.line(`${subjectText(subject)} is blocked ${untilText(answer.block, context.io.now())}`);
  const { revocation } = answer;
  if (revocation === undefined) return;
  if (wait) {
    const waiting = { timeoutSeconds: timeout, json, isNew: true };
    await waitForRevocation(context, { session, open }, revocation.revocation_id, waiting);
  } else if (!json) {
    if (revocation.leases !== undefined) printOutcomes(context, revocation.leases, 'It has no live lease.');
    if (revocation.status !== 'done')
      context.printer.note(
        `${revocation.revoked} of ${revocation.matched} leases ended; \`mayfly revocations ${revocation.revocation_id} --wait\` follows it`,
      );
  }
}

const administrator = onlyFor('an administrator');

const blockAdvice: Advice = {
  ...administrator,
  ...maybeDone(
    'It may have been accepted: `mayfly blocks` tells, and with --revoke `mayfly revocations`. Asking again is safe.',
  ),
};

const unblockAdvice: Advice = {
  ...administrator,
  ...maybeDone('It may have been done: `mayfly blocks` tells.'),
  not_found: '`mayfly blocks` lists what is blocked.',
};

interface UnblockOptions extends SubjectOptions {
  readonly json?: boolean;
}

export function registerUnblock(program: Command, context: CommandContext): void {
  const command = program
    .command('unblock')
    .description('remove a block')
    .argument('[block-id]', 'as `mayfly blocks` lists it');
  addSubjectOptions(command, {
    agent: 'the block of this agent',
    user: 'the block of this user',
    session: 'the block of this session',
    credential: 'the block of this credential',
    integration: 'the block of this integration',
  });
  command
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Examples:
  mayfly unblock --user ada@example.com
  mayfly unblock 0199a3c4-7d1e-7b3a-9f10-2c5d8e6b4a21`,
    )
    .action(async (id: string | undefined, options: UnblockOptions, parsed: Command) => {
      const subject = blockSubjectOf(options);
      if ((id === undefined) === (subject === undefined)) throw nothingNamed('unblock');
      const session = await context.openSession('unblock', parsed);
      const block_id = id ?? (await idOfBlock(session, subject));
      const answer = await advising(session.call(removeBlock, { block_id }), unblockAdvice);
      if (options.json === true) context.printer.json(answer);
      else context.printer.line(`${subjectText(answer.block.subject)} is no longer blocked`);
    });
}

export function registerBlocks(program: Command, context: CommandContext): void {
  program
    .command('blocks')
    .description('list what is blocked')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Examples:
  mayfly blocks
  mayfly blocks --json | jq -r '.blocks[].subject.id'`,
    )
    .action(async ({ json = false }: { json?: boolean }, parsed: Command) => {
      const session = await context.openSession('blocks', parsed);
      const blocks = await allBlocks(session);
      if (json) context.printer.json({ blocks });
      else {
        const now = context.io.now();
        const rows = blocks.map((one) => [
          one.block_id,
          subjectText(one.subject),
          clockTime(one.added_at),
          untilText(one, now),
          one.added_by,
          one.reason,
        ]);
        context.printer.table(
          ['BLOCK', 'SUBJECT', 'SINCE', 'UNTIL', 'BY', 'REASON'],
          rows,
          'Nothing is blocked.',
        );
      }
    });
}

/** Undefined when none was named. */
function blockSubjectOf(options: SubjectOptions): BlockSubject | undefined {
  const subjects = subjectsOf(options);
  if (subjects.length > 1) throw usageFailure('Say one subject at a time.');
  return subjects.length === 0 ? undefined : BlockSubject.parse(subjects[0]);
}

function nothingNamed(command: 'block' | 'unblock') {
  return usageFailure(
    `Say what to ${command}: ${command === 'block' ? '' : 'a block id, or '}one of --agent, --user, --session, --credential and --integration.`,
    `\`mayfly help ${command}\` shows examples.`,
  );
}

async function idOfBlock(session: Session, subject: BlockSubject | undefined): Promise<string> {
  const found = (await allBlocks(session)).find(
    (one) => one.subject.kind === subject?.kind && one.subject.id === subject.id,
  );
  if (found === undefined)
    throw failureOf('not_found', 'It is not blocked.', { next: '`mayfly blocks` lists what is.' });
  return found.block_id;
}

async function allBlocks(session: Session): Promise<Block[]> {
  const blocks: Block[] = [];
  let after: string | undefined;
  do {
    const page = await advising(session.call(listBlocks, { after, limit: mostBlocks }), {
      ...administrator,
      dependency_unavailable: 'Try again in a moment.',
    });
    blocks.push(...page.blocks);
    after = page.next;
  } while (after !== undefined);
  return blocks;
}

function untilText({ until }: Block, now: Date): string {
  return until === undefined
    ? 'until it is unblocked'
    : `until ${clockTime(until)} (${relativeTime(until, now)})`;
}
