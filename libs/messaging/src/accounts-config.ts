/** The accounts as text for nats-server's configuration. The same for the development stack, the compose file and production. */
import { busAccounts } from './accounts.ts';
import type { BusAccount, BusUser } from './accounts.ts';
import type { NatsPermissions } from './permissions.ts';

/** How long a service may take to answer; longer than the longest wait on the bus (30 s and its deadline's slack). */
const responseWindow = '90s';

/**
 * So that one service can't take all of the server's connections (65,536 by default): more than any number of replicas takes. And so
 * that none fills the server's memory with subscriptions; this is for each connection.
 */
const limits = '{ max_connections: 128, max_subscriptions: 1024 }';

/**
 * The block `accounts { … }`, for nats-server 2.9.10 and newer.
 * @param publicNkeys the public nkey (`U…`) of every user
 * @throws Error when a user has none
 */
export function accountsConfig(publicNkeys: Readonly<Record<string, string>>): string {
  return ['accounts {', ...busAccounts().flatMap((account) => block(account, publicNkeys)), '}'].join('\n');
}

/**
 * The name of an imported subject in the importing account. Clients use the subject itself, and the account maps it.
 *
 * `$JS.API.…`: nats-server answers it in every account by itself, in those without streams with an error, and before an import can.
 *
 * Events, signals and dead letters: a pull with their subject as its reply subject would store what JetStream delivers under the subject that
 * the message had before, which is another service's. What a client publishes is mapped, and what is delivered to a reply subject is not;
 * and no client may name a reply subject that begins with `$JS.ACK.`. So only publishing leads there.
 */
function localName(subject: string): string {
  return subject
    .replace(/^\$JS\.API\./u, 'mayfly.log.')
    .replace(/^(?=mayfly\.(?:events|signals|dead)\.)/u, '$JS.ACK.');
}

/** What stands for the wildcards of a subject where it is renamed: its first is `$1`. */
function placeholders(subject: string): string {
  let count = 0;
  return subject.replaceAll('*', () => `$${String(++count)}`);
}

function block(account: BusAccount, publicNkeys: Readonly<Record<string, string>>): string[] {
  const renamed = account.imports.filter(({ subject }) => localName(subject) !== subject);
  return [
    `  ${account.name} {`,
    ...(account.user === undefined
      ? ['    jetstream: enabled']
      : [`    limits: ${limits}`, ...list('users', [userEntry(account.user, publicNkeys, localName)])]),
    ...list(
      'exports',
      account.exports.map(
        ({ subject, to, streamed }) =>
          `{ service: ${quote(subject)}, accounts: [${to.join(', ')}]${streamed ? ', response_type: stream' : ''} }`,
      ),
    ),
    ...list(
      'imports',
      account.imports.map(
        ({ subject, from }) =>
          `{ service: { account: ${from}, subject: ${quote(subject)} }${localName(subject) === subject ? '' : `, to: ${quote(placeholders(localName(subject)))}`} }`,
      ),
    ),
    ...(renamed.length === 0
      ? []
      : [
          '    mappings: {',
          ...renamed.map(
            ({ subject }) => `      ${quote(subject)}: ${quote(placeholders(localName(subject)))}`,
          ),
          '    }',
        ]),
    '  }',
  ];
}

/** One user, with its subjects under the names that they have in its account: those the server looks at. */
function userEntry(
  { name, permissions }: { name: BusUser; permissions: NatsPermissions },
  publicNkeys: Readonly<Record<string, string>>,
  nameOf: (subject: string) => string,
): string {
  const nkey = publicNkeys[name];
  if (nkey === undefined) throw new Error(`There is no NATS key for ${name}.`);
  return [
    `{ nkey: ${quote(nkey)}, permissions: {`,
    `        publish: ${subjects(permissions.publish.map(nameOf))}`,
    `        subscribe: ${subjects(permissions.subscribe)}`,
    ...(permissions.allowResponses
      ? [`        allow_responses: { max: 1, ttl: ${quote(responseWindow)} }`]
      : []),
    '      } }',
  ].join('\n');
}

function list(name: string, entries: readonly string[]): string[] {
  return entries.length === 0 ? [] : [`    ${name}: [`, ...entries.map((entry) => `      ${entry}`), '    ]'];
}

/** nats-server reads an empty allow list as "everything"; nothing allowed must be said as everything denied. */
function subjects(allowed: readonly string[]): string {
  return allowed.length === 0 ? '{ deny: [">"] }' : `{ allow: [${allowed.map(quote).join(', ')}] }`;
}

/** @throws Error for a character that would end the string */
function quote(text: string): string {
  if (/["\\\u0000-\u001f]/u.test(text))
    throw new Error(`${JSON.stringify(text)} can't be part of a NATS configuration.`);
  return `"${text}"`;
}
