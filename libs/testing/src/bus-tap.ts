/**
 * A listener on the wire between the services and NATS: every byte in both directions goes through it and is kept. It
 * hears what no subscription could, replies and acknowledgements included.
 */
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

export class BusTap {
  readonly #chunks: Buffer[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((client) => {
    const upstream = connect(this.targetPort, '127.0.0.1');
    this.#join(client, upstream);
    this.#join(upstream, client);
  });

  private constructor(private readonly targetPort: number) {}

  /** Listens in front of the NATS at `natsUrl`. */
  static async start(natsUrl: string): Promise<BusTap> {
    const tap = new BusTap(Number(new URL(natsUrl).port));
    await new Promise<void>((resolve) => tap.#server.listen(0, '127.0.0.1', resolve));
    return tap;
  }

  /** What to connect to instead. */
  get url(): string {
    return `nats://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** All that went through so far. */
  recorded(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #join(from: Socket, to: Socket): void {
    this.#sockets.add(from);
    from.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      to.write(chunk);
    });
    from.on('error', () => to.destroy());
    from.on('close', () => {
      this.#sockets.delete(from);
      to.destroy();
    });
  }
}
