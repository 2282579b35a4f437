/** HTTP as a careful agent speaks it: keep-alive, a deadline for each request, and no retries of its own. */
import { Agent, request } from 'node:http';

export interface HttpAnswer {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

export interface HttpCall {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly path: string;
  /** Session token. */
  readonly token?: string;
  readonly json?: object;
  readonly form?: Readonly<Record<string, string>>;
  /** Default 10,000. */
  readonly timeoutMs?: number;
}

export class HttpClient {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 256 });

  #urls: readonly string[];
  #next = 0;

  constructor(url: string) {
    this.#urls = [url];
  }

  /** Spreads what follows over several gateways. */
  use(urls: readonly string[]): void {
    this.#urls = urls;
  }

  /** Rejects when there is no whole answer in time: whatever was asked for may have happened. */
  call({ method, path, token, json, form, timeoutMs = 10_000 }: HttpCall): Promise<HttpAnswer> {
    const body = json === undefined ? form && new URLSearchParams(form).toString() : JSON.stringify(json);
    const headers = {
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined
        ? {}
        : {
            'content-type': json === undefined ? 'application/x-www-form-urlencoded' : 'application/json',
            'content-length': String(Buffer.byteLength(body)),
          }),
    };
    return new Promise((resolve, reject) => {
      const outgoing = request(
        new URL(path, this.#urls[this.#next++ % this.#urls.length]),
        { agent: this.#agent, method, headers },
        (response) => {
          let text = '';
          response.setEncoding('utf8');
          response.on('data', (chunk: string) => (text += chunk));
          response.on('error', reject);
          response.on('close', () => {
            clearTimeout(timer);
            if (!response.complete) return reject(new Error('the answer was cut off'));
            try {
              resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) as HttpAnswer['body'] });
            } catch (cause) {
              reject(new Error('the answer is no JSON', { cause }));
            }
          });
        },
      );
      const timer = setTimeout(() => outgoing.destroy(new Error('no answer in time')), timeoutMs);
      outgoing.on('error', (error) => {
        clearTimeout(timer);
        reject(error);
      });
      outgoing.end(body);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}
