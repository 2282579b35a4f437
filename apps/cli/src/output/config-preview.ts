/** What a document would change, for people: one paragraph for each thing, and what stands in the way of applying it. */
import type { ConfigChange, PreviewedConfig } from '@mayfly/contracts';
import type { z } from 'zod';
import type { Printer } from './printer.ts';

export function printPreview(printer: Printer, preview: z.infer<typeof PreviewedConfig>): void {
  const { changes, changes_total, ending_leases, ending_sessions, locks_out, version } = preview;
  if (changes.length === 0) {
    printer.line(
      preview.unchanged
        ? `nothing changes: it is version ${version}`
        : `nothing changes for anybody: only its text differs from version ${version}`,
    );
  }
  for (const change of changes) printChange(printer, change);
  const more = changes_total - changes.length;
  if (more > 0) printer.line(`and ${more} more change${more === 1 ? '' : 's'}`);
  if (ending_leases > 0) {
    const live = ending_leases === 1 ? '1 live lease' : `${ending_leases} live leases`;
    printer.line(`! it removes what has ${live}: refused without --end-leases, with which they end`);
  }
  if (ending_sessions > 0) {
    const live = ending_sessions === 1 ? '1 live session ends' : `${ending_sessions} live sessions end`;
    printer.line(`! ${live} with it, and their leases: it no longer admits them`);
  }
  if (locks_out !== undefined)
    printer.line(`! it locks you out, so it is refused without --lock-me-out: ${locks_out}`);
  printer.note(`nothing was applied; version ${version} is running`);
}

const signs = { added: '+', removed: '-', changed: '~' } as const;

function printChange(printer: Printer, change: ConfigChange): void {
  const { kind, name, organization, details, concerns, live_leases, live_sessions } = change;
  const what = [kind.replace('_', ' '), name].filter((part) => part !== undefined).join(' ');
  const where = organization === undefined || organization === name ? '' : ` of ${organization}`;
  printer.line(`${signs[change.change]} ${what}${where}`);
  for (const detail of details) printer.line(`    ${detail}`);
  const live = [
    ...(live_sessions > 0 ? [`${live_sessions} live session${live_sessions === 1 ? '' : 's'}`] : []),
    ...(live_leases > 0 ? [`${live_leases} live lease${live_leases === 1 ? '' : 's'}`] : []),
  ];
  printer.line(`    for ${concerns}${live.length > 0 ? ` (${live.join(', ')})` : ''}`);
}
