/** What the provider has to tell of group roles to whoever operates Mayfly; an agent learns none of it. */
import type { LeftOut } from './make-group.ts';

export interface GroupNews {
  readonly organization: string;
  readonly integration: string;
  readonly group: string;
}

export interface GroupObserver {
  /** A look at a group: the tables and sequences that it does without, mostly none. At most once a minute for each group. */
  looked(news: GroupNews & { readonly notGrantable: LeftOut; readonly locked: LeftOut }): void;
  /** Sessions of these leases were ended, because they held what the making of a group needed. */
  endedHolders(news: GroupNews & { readonly leaseIds: readonly string[] }): void;
}
