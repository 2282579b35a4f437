/** Somebody who holds a lease and means harm: sessions, loops that nothing discourages, and a record of when it last worked. */
import pg from 'pg';
import type { Lease } from './provider-under-test.ts';
import { connectionTo, lastRows, type Row } from './rows.ts';

export interface SessionOptions {
  /** Default: the database that the lease is for. */
  readonly database?: string;
  /** `options` of the start-up packet: `-c name=value`. */
  readonly options?: string;
}

/** A lessee with its sessions. */
export class Lessee {
  /** When what last succeeded was begun, and the lease's end (`performance.now()`). */
  #lastUse = Number.NEGATIVE_INFINITY;
  #end = Number.POSITIVE_INFINITY;
  #stopped = false;
  readonly #clients = new Set<pg.Client>();
  readonly #loops: Promise<unknown>[] = [];
  readonly #outlasting: Promise<unknown>[] = [];

  constructor(readonly lease: Lease) {}

  /** The role's name, quoted. */
  get role(): string {
    return pg.escapeIdentifier(this.lease.role);
  }

  /** Logs in. */
  async session({ database, options }: SessionOptions = {}): Promise<Session> {
    const client = new pg.Client({
      ...connectionTo(this.lease.url, database),
      ...(options !== undefined && { options }),
    });
    client.on('error', () => undefined);
    client.on('end', () => this.#clients.delete(client));
    this.#clients.add(client);
    await this.uses(() => client.connect());
    return new Session(client, (work) => this.uses(work));
  }

  /** A session that has run a text. */
  async having(text: string, options?: SessionOptions): Promise<Session> {
    const session = await this.session(options);
    await session.query(text);
    return session;
  }

  /** Does it again and again, whatever comes of it, until `stop`. */
  keep(work: () => Promise<unknown>): void {
    const loop = async (): Promise<void> => {
      while (!this.#stopped) {
        await work().catch(() => undefined);
        // Gives way to the others here: what comes at once would starve the whole process.
        await new Promise((resolve) => setTimeout(resolve, 3));
      }
    };
    this.#loops.push(loop());
  }

  /** Does it and has the run wait for the outcome, whatever it is, before the last look at what is left. */
  outlast(work: () => Promise<unknown>): void {
    this.#outlasting.push(work().catch(() => undefined));
  }

  /** Resolves when all of that is over. */
  async outlasted(): Promise<void> {
    await Promise.all(this.#outlasting);
  }

  /** The lease has ended: what is begun after that instant (`performance.now()`) must not succeed. */
  mayNotWorkAfter(instant: number): void {
    this.#end = Math.min(this.#end, instant);
  }

  /** Whether something succeeded that was begun after the lease's end. */
  get hasWorkedTooLate(): boolean {
    return this.#lastUse > this.#end;
  }

  /** Gives up: ends loops and closes sessions. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const client of this.#clients) wireOf(client).stream.destroy();
    await Promise.all(this.#loops);
  }

  /** Counts as work with this lease when it succeeds, whoever does it. */
  async uses<T>(work: () => Promise<T>): Promise<T> {
    const begun = performance.now();
    const result = await work();
    this.#lastUse = Math.max(this.#lastUse, begun);
    return result;
  }
}

/** The parts of the driver that a client with bad manners needs. */
interface Wire {
  readonly stream: { pause(): void; destroy(): void };
  query(text: string): void;
  parse(message: object): void;
  bind(message: object): void;
  execute(message: object): void;
  flush(): void;
}

function wireOf(client: pg.Client): Wire {
  return (client as unknown as { connection: Wire }).connection;
}

/** One session of a lessee. */
export class Session {
  constructor(
    private readonly client: pg.Client,
    private readonly tried: <T>(work: () => Promise<T>) => Promise<T>,
  ) {}

  /** The rows of the text's last statement. */
  async query(text: string): Promise<readonly Row[]> {
    return lastRows(await this.tried(() => this.client.query(text)));
  }

  /** Sends a text and waits for nothing. */
  send(text: string): void {
    this.client.query(text).catch(() => undefined);
  }

  /** Reads no more of what the server sends. */
  stopReading(): void {
    wireOf(this.client).stream.pause();
  }

  /** Begins a COPY FROM STDIN and sends no data; resolves when the server waits for it. */
  beginCopyIn(table: string): Promise<void> {
    return this.#submit('handleCopyInResponse', (wire) => wire.query(`COPY ${table} FROM STDIN`));
  }

  /** Runs a statement by the extended protocol and never says Sync, so that its transaction stays open; resolves when it has run. */
  runWithoutSync(text: string): Promise<void> {
    return this.#submit('handleCommandComplete', (wire) => {
      wire.parse({ text, name: '', types: [] });
      wire.bind({ portal: '', statement: '', values: [] });
      wire.execute({ portal: '', rows: 0 });
      wire.flush();
    });
  }

  /** A conversation of our own with the server, up to one of its answers. */
  #submit(
    until: 'handleCopyInResponse' | 'handleCommandComplete',
    begin: (wire: Wire) => void,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      const ignore = () => undefined;
      const conversation = {
        handleRowDescription: ignore,
        handleDataRow: ignore,
        handlePortalSuspended: ignore,
        handleEmptyQuery: ignore,
        handleReadyForQuery: ignore,
        handleCopyInResponse: ignore,
        handleCopyData: ignore,
        handleCommandComplete: ignore,
        handleError: (error: Error) => reject(error),
        [until]: () => resolve(),
        submit: () => begin(wireOf(this.client)),
      };
      this.client.query(conversation as unknown as pg.Submittable);
    });
  }

  /** Leaves as one should. */
  async leave(): Promise<void> {
    await this.client.end();
  }
}
