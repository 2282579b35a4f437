/**
 * The bound on open connections, which anybody can open without saying a word. A connection is never turned away for want of a place:
 * the one that has gone the longest without doing anything useful is closed for it, so whoever holds connections for nothing loses
 * them to those who have something to ask. A connection with a request that is being worked on is never closed.
 *
 * Besides, it closes what Node itself would keep: connections that are idle, and those whose answers are not read.
 */
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { canonicalAddress } from '@mayfly/contracts';
import type { ConnectionCut } from '@mayfly/telemetry';
import { sourceOf, type TrustedProxies } from './caller-address.ts';

export interface ConnectionLimits {
  /** Open connections altogether. */
  readonly most: number;
  /** Of one source; those of trusted proxies are bounded altogether only, since each stands for many callers. */
  readonly mostOfSource: number;
  /** How long a connection of a source that is no proxy may be idle, in milliseconds. */
  readonly idleMs: number;
  /** How long an answer may take to be read, in milliseconds. */
  readonly answerMs: number;
}

/** One open connection. Times are those of `performance.now()`. */
export interface Connection {
  readonly socket: Socket;
  /** The source that it counts for; undefined for a trusted proxy. */
  readonly source: string | undefined;
  /** Requests whose body is not there yet. */
  reading: number;
  /** Bytes that had come on it when its last request was there. The next may begin in the same packet, and its body with it. */
  readBefore: number;
  /** Requests that are being worked on. */
  working: number;
  /** Answers that the system has not taken over yet, because their reader is slow. */
  answering: number;
  /** Since when nothing has happened but that an answer is waited to be read. */
  answeringSince: number;
  idleSince: number;
  /** Somebody whom policy knows has been served on it. */
  known: boolean;
}

const nobody: ReadonlySet<Connection> = new Set();

/** What a connection that nobody works for is worth: more when somebody known is served on it, and while its answer is read. */
function worthOf({ known, answering }: Connection): number {
  return (known ? 2 : 0) + (answering > 0 ? 1 : 0);
}

/** How often idle connections and slow readers are looked for, in milliseconds. */
const sweepMs = 1_000;
/** Idle connections are told that they may stay this much shorter than they may, so that no request meets a connection that is being closed. */
const idleGraceMs = 1_000;

export class Connections {
  readonly #open = new Map<Socket, Connection>();
  readonly #ofSource = new Map<string, Set<Connection>>();
  readonly #proxied = new Set<Connection>();

  constructor(
    private readonly limits: ConnectionLimits,
    private readonly proxies: TrustedProxies,
    /** Told of each connection that is closed for a bound. */
    private readonly onCut: (cause: ConnectionCut) => void,
  ) {}

  get size(): number {
    return this.#open.size;
  }

  /** From now on keeps the bounds of this server, until it is closed. */
  watch(server: Server): void {
    server.on('connection', (socket: Socket) => this.#add(socket));
    const sweep = setInterval(() => this.#sweep(performance.now()), sweepMs).unref();
    server.once('close', () => clearInterval(sweep));
  }

  /** The connection of a socket. One that no watched server has told of is counted from now on. */
  of(socket: Socket): Connection {
    return this.#open.get(socket) ?? this.#add(socket);
  }

  #add(socket: Socket): Connection {
    const { remoteAddress } = socket;
    const source = this.proxies.has(remoteAddress)
      ? undefined
      : sourceOf(canonicalAddress(remoteAddress ?? '') ?? 'unknown');
    const connection: Connection = {
      socket,
      source,
      reading: 0,
      readBefore: 0,
      working: 0,
      answering: 0,
      answeringSince: 0,
      idleSince: performance.now(),
      known: false,
    };
    if (source !== undefined) {
      const group = this.#ofSource.get(source) ?? nobody;
      if (group.size >= this.limits.mostOfSource && !this.#makeRoom(group, 'source_connections'))
        return this.#cut(connection, 'source_connections');
    }
    // Where every source has one, that of the first may be worked on, and any other may go.
    if (
      this.#open.size >= this.limits.most &&
      !this.#makeRoom(this.#largestGroup(), 'connections') &&
      !this.#makeRoom(this.#open.values(), 'connections')
    )
      return this.#cut(connection, 'connections');
    // Its `close` may have been heard of already.
    if (socket.destroyed) return connection;
    this.#open.set(socket, connection);
    this.#groupOf(source).add(connection);
    socket.once('close', () => this.#remove(connection));
    return connection;
  }

  #remove(connection: Connection): void {
    if (!this.#open.delete(connection.socket)) return;
    const { source } = connection;
    const group = this.#groupOf(source);
    group.delete(connection);
    if (source !== undefined && group.size === 0) this.#ofSource.delete(source);
  }

  #cut(connection: Connection, cause: ConnectionCut): Connection {
    this.onCut(cause);
    // At once, and not when the system has closed it: its place is taken in the same turn.
    this.#remove(connection);
    connection.socket.destroy();
    return connection;
  }

  /** Closes the connection of a group that is of the least use; false when all are being worked on. */
  #makeRoom(group: Iterable<Connection>, cause: ConnectionCut): boolean {
    let chosen: Connection | undefined;
    // Sets and maps keep the order of insertion, so of equals the oldest is chosen, mostly the first.
    for (const connection of group) {
      if (connection.working > 0) continue;
      if (chosen === undefined || worthOf(connection) < worthOf(chosen)) chosen = connection;
      if (worthOf(chosen) === 0) break;
    }
    if (chosen === undefined) return false;
    this.#cut(chosen, cause);
    return true;
  }

  /** Of the source that has the most; of proxies when no source has two. */
  #largestGroup(): ReadonlySet<Connection> {
    let largest: ReadonlySet<Connection> | undefined;
    for (const group of this.#ofSource.values()) {
      if (group.size > (largest?.size ?? 0)) largest = group;
    }
    return largest === undefined || (largest.size < 2 && this.#proxied.size > 0) ? this.#proxied : largest;
  }

  #groupOf(source: string | undefined): Set<Connection> {
    if (source === undefined) return this.#proxied;
    let group = this.#ofSource.get(source);
    if (group === undefined) this.#ofSource.set(source, (group = new Set()));
    return group;
  }

  #sweep(now: number): void {
    const { idleMs, answerMs } = this.limits;
    for (const connection of this.#open.values()) {
      const { answering, reading, source, working } = connection;
      // An answer may also wait for the one before it, whose work is not done.
      if (working > 0) continue;
      if (answering > 0) {
        if (now - connection.answeringSince > answerMs) this.#cut(connection, 'slow_answer');
      } else if (reading === 0 && source !== undefined) {
        if (now - connection.idleSince > idleMs + idleGraceMs) this.#cut(connection, 'idle');
      }
    }
  }
}
