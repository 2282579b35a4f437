/** Everything that the protocol lets somebody name: where a captured service may try to publish, and what it may ask answers to be sent to. */
import {
  busOperations,
  eventSubject,
  eventTypes,
  presenceSubject,
  serviceNames,
  signalTypes,
  subjectOf,
} from '@mayfly/contracts';
import { accountOf, consumers, streams, type BusUser, type ConsumerDefinition } from '@mayfly/messaging';

export const users: readonly BusUser[] = [...serviceNames, 'setup'];
export const streamNames = Object.keys(streams);
export const consumerEntries = Object.entries<ConsumerDefinition>(consumers);

const rpc = [
  ...busOperations.map(subjectOf),
  ...serviceNames.map(presenceSubject),
  ...serviceNames.flatMap((service) => [`mayfly.rpc.${service}.invented`, `mayfly.rpc.${service}`]),
];
const events = [
  ...[...eventTypes, ...signalTypes].map(eventSubject),
  'mayfly.events.invented.now',
  'mayfly.signals.invented',
  ...serviceNames.map((service) => `mayfly.dead.${service}`),
  'mayfly.dead.nobody',
];
const inboxes = [...users.map((user) => `_INBOX_${user}.some.reply`), '_INBOX.some.reply'];

const streamVerbs = [
  ...['CREATE', 'UPDATE', 'DELETE', 'PURGE', 'INFO', 'MSG.GET', 'MSG.DELETE', 'SNAPSHOT', 'RESTORE'],
  ...['PEER.REMOVE', 'LEADER.STEPDOWN'],
].map((verb) => `STREAM.${verb}`);
const consumerVerbs = [
  ...['CREATE', 'DURABLE.CREATE', 'DELETE', 'INFO', 'MSG.NEXT', 'LEADER.STEPDOWN', 'PAUSE', 'UNPIN', 'RESET'],
].map((verb) => `CONSUMER.${verb}`);
const api = [
  ...['INFO', 'STREAM.NAMES', 'STREAM.LIST', 'STREAM.CREATE.MINE', 'META.LEADER.STEPDOWN', 'SERVER.REMOVE'],
  ...['ACCOUNT.PURGE.MAYFLY_LOG', 'SERVER.STREAM.MOVE'],
  ...streamNames.flatMap((stream) => [
    ...streamVerbs.map((verb) => `${verb}.${stream}`),
    ...['NAMES', 'LIST', 'CREATE'].map((verb) => `CONSUMER.${verb}.${stream}`),
    `CONSUMER.CREATE.${stream}.mine`,
    `CONSUMER.CREATE.${stream}.mine.mayfly.>`,
    `CONSUMER.DURABLE.CREATE.${stream}.mine`,
    `DIRECT.GET.${stream}`,
    `DIRECT.GET.${stream}.mayfly.events.credential.issued`,
  ]),
  ...consumerEntries.flatMap(([name, { stream, filter }]) => [
    ...consumerVerbs.map((verb) => `${verb}.${stream}.${name}`),
    `CONSUMER.CREATE.${stream}.${name}.${filter ?? 'mayfly.>'}`,
  ]),
];
/** By their name in JetStream, by that in the importing accounts, and as if the account were a domain. */
const jetStream = api.flatMap((what) => [
  `$JS.API.${what}`,
  `mayfly.log.${what}`,
  `$JS.MAYFLY_LOG.API.${what}`,
]);

/** Of messages that are out: each consumer's first was pulled. */
const acknowledgements = consumerEntries.flatMap(([name, { stream }]) =>
  [1, 2, 3, 4, 5, 6, 7, 8].map(
    (sequence) => `$JS.ACK.${stream}.${name}.1.${sequence}.1.1796000000000000000.0`,
  ),
);
const system = [
  ...['SERVER.PING', 'SERVER.PING.JSZ', 'SERVER.PING.CONNZ', 'USER.INFO', 'ACCOUNT.PING.CONNZ'],
  ...[
    'ACCOUNT.PING.STATZ',
    'CLAIMS.LIST',
    'CLAIMS.DELETE',
    'SERVER.x.RELOAD',
    'SERVER.x.KICK',
    'SERVER.x.SHUTDOWN',
  ],
  ...users.flatMap((user) =>
    ['CONNZ', 'INFO', 'SUBSZ', 'JSZ', 'CONNS'].map((what) => `ACCOUNT.${accountOf(user)}.${what}`),
  ),
].map((what) => `$SYS.REQ.${what}`);
const internal = [
  ...['_R_.abcdef.ghijkl', '_GR_.x.y.z', '$JS.FC.MAYFLY_EVENTS.audit-events.x', '$JSC.R.x', '$NRG.V.x'],
  ...['$SYS.ACCOUNT.MAYFLY_LOG.DISCONNECT', '$LDS.x', '$MQTT.x', '$KV.x.y', 'mayfly.other', 'anything'],
];

/** Where to publish to. */
export const everySubject: readonly string[] = [
  ...new Set([...rpc, ...events, ...inboxes, ...jetStream, ...acknowledgements, ...system, ...internal]),
];

/** Where to have answers sent to. */
export const everyReply: readonly string[] = [
  ...inboxes,
  ...streamNames.flatMap((stream) =>
    ['PURGE', 'DELETE', 'UPDATE', 'MSG.DELETE'].map((verb) => `$JS.API.STREAM.${verb}.${stream}`),
  ),
  ...consumerEntries.flatMap(([name, { stream }]) =>
    ['DELETE', 'MSG.NEXT', 'DURABLE.CREATE'].map((verb) => `$JS.API.CONSUMER.${verb}.${stream}.${name}`),
  ),
  ...consumerEntries.map(([name, { stream }]) => `mayfly.log.CONSUMER.DELETE.${stream}.${name}`),
  ...events,
  ...rpc,
  ...acknowledgements.filter((_, index) => index % 4 === 0),
  '$SYS.REQ.SERVER.PING',
  '_R_.abcdef.ghijkl',
];

/** What to listen to, alone and in queue groups. */
export const everyListening: readonly string[] = [
  ...[
    '>',
    '*',
    '*.>',
    '*.*.>',
    'mayfly.>',
    'mayfly.*.>',
    'mayfly.rpc.>',
    'mayfly.events.>',
    'mayfly.signals.>',
  ],
  ...[
    'mayfly.dead.>',
    'mayfly.log.>',
    '_INBOX.>',
    '_INBOX_*.>',
    '$JS.>',
    '$JS.API.>',
    '$JS.ACK.>',
    '$JS.EVENT.>',
  ],
  ...['$SYS.>', '$SYS.REQ.>', '_R_.>', '_GR_.>', '$JSC.>', '$NRG.>'],
  ...users.flatMap((user) => [`_INBOX_${user}.>`, `_INBOX_${user}.*`, `_INBOX_${user}.some.reply`]),
  ...rpc,
  ...serviceNames.map((service) => `mayfly.rpc.${service}.>`),
  ...events,
];

/** One of each kind of them. */
export const someReplies: readonly string[] = [
  '_INBOX_gateway.some.reply',
  '$JS.API.STREAM.PURGE.MAYFLY_EVENTS',
  '$JS.API.CONSUMER.DELETE.MAYFLY_EVENTS.audit-events',
  'mayfly.events.credential.issued',
  'mayfly.rpc.revocation.revoke',
  '$JS.ACK.MAYFLY_EVENTS.audit-events.1.1.1.1796000000000000000.0',
];
