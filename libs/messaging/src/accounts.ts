/**
 * The accounts of the bus, derived from the permissions, which come from the contracts and the topology (I9).
 *
 * Every service has an account of its own, and so has the set-up step; the streams live in one where nobody logs in. Whatever a user may
 * publish crosses from its account to exactly one other by an import, and nothing else crosses. nats-server gives a request that
 * crosses a reply subject of its own making, and resolves the one that the asker chose in the asker's account alone: so nobody can make
 * a responder, or JetStream itself, write where the asker could not write by itself.
 */
import { serviceNames } from '@mayfly/contracts';
import type { ServiceName } from '@mayfly/contracts';
import { natsPermissions } from './permissions.ts';
import type { NatsPermissions } from './permissions.ts';
import { consumersOf } from './topology.ts';

/** Who logs in to the bus. */
export type BusUser = ServiceName | 'setup';

/** The account of the streams and consumers; it has no user. */
export const logAccount = 'MAYFLY_LOG';

/** A subject that other accounts may send requests to. */
export interface SubjectExport {
  readonly subject: string;
  /** The accounts that may import it. */
  readonly to: readonly string[];
  /** One request is answered by many messages (a pull), and not by one. */
  readonly streamed: boolean;
}

/** A subject that is answered in another account. */
export interface SubjectImport {
  readonly subject: string;
  readonly from: string;
}

export interface BusAccount {
  readonly name: string;
  /** The one user of the account, named like it in the keys folder; `undefined` for the account of the streams. */
  readonly user: { readonly name: BusUser; readonly permissions: NatsPermissions } | undefined;
  readonly exports: readonly SubjectExport[];
  readonly imports: readonly SubjectImport[];
}

/** The account of a user. */
export function accountOf(user: BusUser): string {
  return `MAYFLY_${user.toUpperCase()}`;
}

/** Every account: the one of the streams, then one for each user. */
export function busAccounts(): BusAccount[] {
  const permissions = natsPermissions();
  const users: readonly BusUser[] = [...serviceNames, 'setup'];
  const imported = users.flatMap((user) =>
    importsOf(user, permissions[user]).map((one) => ({ ...one, to: accountOf(user) })),
  );
  return [
    { name: logAccount, user: undefined, exports: exportsOf(logAccount, imported), imports: [] },
    ...users.map((user) => ({
      name: accountOf(user),
      user: { name: user, permissions: permissions[user] },
      exports: exportsOf(accountOf(user), imported),
      imports: importsOf(user, permissions[user]),
    })),
  ];
}

/** What a user may publish, and the acknowledgements of its own consumers, which it may publish as answers only. */
function importsOf(user: BusUser, { publish }: NatsPermissions): SubjectImport[] {
  const acknowledgements =
    user === 'setup' ? [] : consumersOf(user).map(([name, { stream }]) => `$JS.ACK.${stream}.${name}.>`);
  return [...publish, ...acknowledgements].map((subject) => ({ subject, from: ownerOf(subject) }));
}

/** The account in which a subject is answered. */
function ownerOf(subject: string): string {
  const service = serviceNames.find((name) => subject.startsWith(`mayfly.rpc.${name}.`));
  return service === undefined ? logAccount : accountOf(service);
}

/** The other side of the imports: what an account offers, and to whom. */
function exportsOf(account: string, imported: readonly (SubjectImport & { to: string })[]): SubjectExport[] {
  const importers = new Map<string, string[]>();
  for (const { subject, from, to } of imported)
    if (from === account) importers.set(subject, [...(importers.get(subject) ?? []), to]);
  return [...importers].map(([subject, to]) => ({
    subject,
    to,
    streamed: subject.startsWith('$JS.API.CONSUMER.MSG.NEXT.'),
  }));
}
