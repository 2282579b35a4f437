/** One session of a hostile lessee: ignores every error, and stays open until the server ends it. */
import pg from 'pg';

/** Longer than any `post_auth_delay` of the habits. Milliseconds. */
const connectWithinMs = 20_000;
const answersWithinMs = 2_000;

/** Sessions of hostile lessees tell by their application name whose they are, because a session may outlive its role. */
export function applicationNameOf(leaseId: string): string {
  return `hostile ${leaseId}`;
}

export class HostileSession {
  #isOpen = true;
  #underWay = 0;
  #last: Promise<unknown> = Promise.resolve();

  private constructor(private readonly client: pg.Client) {
    client.once('end', () => (this.#isOpen = false));
  }

  /** Rejects with the server's refusal. `settings` are given at the login, as `-c name=value`. */
  static async open(url: string, leaseId: string, settings = ''): Promise<HostileSession> {
    const client = new pg.Client({
      connectionString: url,
      application_name: applicationNameOf(leaseId),
      options: settings,
      connectionTimeoutMillis: connectWithinMs,
    });
    client.on('error', () => undefined);
    const session = new HostileSession(client);
    try {
      await client.connect();
      return session;
    } catch (error) {
      session.close();
      throw error;
    }
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Sends a statement after those before it, and resolves with whether it worked. It may wait for ever. */
  async send(statement: string): Promise<boolean> {
    this.#underWay++;
    const sent = this.#last.then(() =>
      this.client.query(statement).then(
        () => true,
        () => false,
      ),
    );
    this.#last = sent;
    const hasWorked = await sent;
    this.#underWay--;
    return hasWorked;
  }

  /** Whether the server still answers in it. One in which a statement waits can't be asked; the server knows of it. */
  async answers(): Promise<boolean> {
    if (!this.#isOpen || this.#underWay > 0) return false;
    const query = { text: 'SELECT 1', query_timeout: answersWithinMs };
    this.#underWay++;
    const answer = this.client.query(query).then(
      () => true,
      // In a transaction that has failed (`in_failed_sql_transaction`), the refusal is an answer too.
      ({ code }: { code?: string }) => code === '25P02',
    );
    this.#last = answer;
    const isAnswered = await answer;
    this.#underWay--;
    return isAnswered;
  }

  close(): void {
    this.#isOpen = false;
    void this.client.end().catch(() => undefined);
  }
}
