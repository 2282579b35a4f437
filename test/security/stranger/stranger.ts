/** A stranger at the edge: holds connections from two addresses, and does on each only what keeps it from ever finishing. */
import { connect, type Socket } from 'node:net';

/** What is done on a connection, once, when it is open. After it nothing is sent. */
export interface Habit {
  readonly name: string;
  readonly begin: (socket: Socket) => void;
  /** Answers are left with the gateway. */
  readonly reads?: false;
}

const host = 'Host: mayfly\r\n';
const form = 'Content-Type: application/x-www-form-urlencoded\r\n';
const json = 'Content-Type: application/json\r\n';
const writing = (name: string, bytes: string): Habit => ({ name, begin: (socket) => socket.write(bytes) });

export const habits: readonly Habit[] = [
  { name: 'connections on which nothing comes', begin: () => undefined },
  writing('headers that never end', `POST /v1/token HTTP/1.1\r\n${host}X-A: b\r\n`),
  writing('bodies that never come', `POST /v1/token HTTP/1.1\r\n${host}${form}Content-Length: 1000\r\n\r\n`),
  writing(
    'bodies that never end',
    `POST /v1/leases HTTP/1.1\r\n${host}${json}Transfer-Encoding: chunked\r\n\r\n2\r\n{"`,
  ),
  writing(
    'documents that never end',
    `PUT /v1/config HTTP/1.1\r\n${host}${json}Content-Length: 900000\r\n\r\n${'x'.repeat(60_000)}`,
  ),
  writing(
    'ends that never end',
    `DELETE /v1/leases/x HTTP/1.1\r\n${host}${json}Content-Length: 1000\r\n\r\n{`,
  ),
  writing('idle connections', `GET /.well-known/oauth-authorization-server HTTP/1.1\r\n${host}\r\n`),
  {
    ...writing('answers that are not read', `GET /openapi.json HTTP/1.1\r\n${host}\r\n`.repeat(4)),
    reads: false,
  },
  writing('TLS where there is none', '\x16\x03\x01\x02\x00\x01\x00'),
];

export interface Stranger {
  /** Connections that have been opened so far. */
  readonly opened: number;
  leave(): void;
}

export interface StrangerOptions {
  readonly gatewayUrl: string;
  readonly addresses: readonly string[];
  /** Connections that are held, over all addresses. */
  readonly sockets: number;
  /** By turns. */
  readonly habits: readonly Habit[];
}

/** How long the stranger is without a connection that was closed, in milliseconds. */
const pauseMs = 1_000;
/** Who does not read does not hear either that a connection was closed, and so takes another one after this time. */
const unreadMs = 2_000;

/** Comes and stays: a connection that is closed is soon replaced. Resolves when all have been opened. */
export async function comeAsStranger(options: StrangerOptions): Promise<Stranger> {
  const { hostname, port } = new URL(options.gatewayUrl);
  const held = new Set<Socket>();
  const timers = new Set<NodeJS.Timeout>();
  let opened = 0;
  let stays = true;
  const later = (act: () => void, ms: number) => {
    const timer = setTimeout(() => {
      timers.delete(timer);
      act();
    }, ms);
    timers.add(timer);
  };
  const hold = (index: number): Promise<void> =>
    new Promise((resolve) => {
      const localAddress = options.addresses[index % options.addresses.length];
      const habit = options.habits[Math.floor(index / options.addresses.length) % options.habits.length];
      const socket = connect({
        host: hostname,
        port: Number(port),
        ...(localAddress === undefined ? {} : { localAddress }),
      });
      held.add(socket);
      opened++;
      socket.once('connect', () => {
        habit?.begin(socket);
        if (habit?.reads === false) later(() => socket.destroy(), unreadMs);
        else socket.resume();
        resolve();
      });
      socket.on('error', () => undefined);
      socket.once('close', () => {
        held.delete(socket);
        resolve();
        if (stays) later(() => void hold(index), pauseMs);
      });
    });
  await Promise.all(Array.from({ length: options.sockets }, (_, index) => hold(index)));
  return {
    get opened() {
      return opened;
    },
    leave: () => {
      stays = false;
      for (const timer of timers) clearTimeout(timer);
      for (const socket of held) socket.destroy();
    },
  };
}
