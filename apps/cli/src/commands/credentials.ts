/** `mayfly credentials`: what this identity may ask for. */
import { http, type CredentialListing } from '@mayfly/contracts';
import type { Command } from 'commander';
import { scopeText } from '../arguments/scope.ts';
import type { CommandContext } from '../command-context.ts';
import { durationText } from '../output/times.ts';

export function registerCredentials(program: Command, context: CommandContext): void {
  program
    .command('credentials')
    .description('list what may be asked for')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Examples:
  mayfly credentials
  mayfly credentials --json | jq -r '.credentials[].credential'`,
    )
    .action(async ({ json = false }: { json?: boolean }, command: Command) => {
      const session = await context.openSession('credentials', command);
      const answer = await session.call(http.leases.listCredentials, {});
      if (json) context.printer.json(answer);
      else
        context.printer.table(
          header,
          answer.credentials.map(rowOf),
          'There is nothing that this identity may ask for.',
        );
    });
}

const header = [
  'CREDENTIAL',
  'PROVIDER',
  'SCOPE',
  'TTL',
  'MAX',
  'RENEWABLE',
  'ENDS',
  'APPROVAL',
  'DESCRIPTION',
];

function rowOf(item: CredentialListing): string[] {
  return [
    item.credential,
    item.provider,
    scopeText(item.scope),
    durationText(item.ttl.default_seconds),
    durationText(item.ttl.max_seconds),
    renewableHow(item.renewal),
    endsHow(item.revocability),
    item.approval,
    item.description ?? '',
  ];
}

/** How long it can be made to live, and whether that takes a new secret each time. */
function renewableHow(renewal: CredentialListing['renewal']): string {
  if (renewal === undefined) return 'no';
  const longest = `to ${durationText(renewal.max_life_seconds)}`;
  return renewal.kind === 'in_place' ? longest : `${longest}, new secrets`;
}

function endsHow(revocability: CredentialListing['revocability']): string {
  switch (revocability.kind) {
    case 'immediate':
      return 'at once';
    case 'eventual':
      return `within ${durationText(revocability.within_seconds)}`;
    case 'expiry_only':
      return 'at expiry';
  }
}
