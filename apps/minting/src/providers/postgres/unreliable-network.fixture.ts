/** A network between a client and a server that can be cut in the middle of what is said, and heals later. */
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

export class UnreliableNetwork {
  /** What was sent after the cut, in order: TCP goes on trying to deliver it, though its sender has gone. */
  readonly #undelivered: (() => void)[] = [];
  readonly #sockets: Socket[] = [];
  #cutAt: string | undefined;
  #slow: { readonly answerTo: string; readonly byMs: number } | undefined;

  private constructor(
    private readonly server: Server,
    readonly url: string,
  ) {}

  /** In front of the server that `url` names. */
  static async before(url: string): Promise<UnreliableNetwork> {
    const { hostname, port } = new URL(url);
    const server = createServer({ allowHalfOpen: true });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const through = new URL(url);
    Object.assign(through, { hostname: '127.0.0.1', port: String((server.address() as AddressInfo).port) });
    const network = new UnreliableNetwork(server, through.href);
    server.on('connection', (client) => network.#join(client, connect(Number(port), hostname)));
    return network;
  }

  /** From the packet on that holds this text nothing is delivered any more. */
  cutAt(text: string): void {
    this.#cutAt = text;
  }

  /** The next answer to a packet that holds this text comes so much later. */
  slowDownAnswerTo(answerTo: string, byMs: number): void {
    this.#slow = { answerTo, byMs };
  }

  /** Delivers what is outstanding and resolves when the server has dealt with it all and has closed its connections. */
  async heal(): Promise<void> {
    this.#cutAt = undefined;
    const closed = this.#sockets.map((socket) => new Promise((resolve) => socket.once('close', resolve)));
    for (const deliver of this.#undelivered.splice(0)) deliver();
    for (const socket of this.#sockets) socket.end();
    await Promise.all(closed);
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }

  #join(client: Socket, server: Socket): void {
    this.#sockets.push(server);
    let isCut = false;
    let delayMs = 0;
    for (const socket of [client, server]) socket.on('error', () => undefined);
    client.on('data', (packet) => {
      isCut ||= this.#cutAt !== undefined && packet.includes(this.#cutAt);
      if (this.#slow !== undefined && packet.includes(this.#slow.answerTo)) {
        delayMs = this.#slow.byMs;
        this.#slow = undefined;
      }
      if (isCut) this.#undelivered.push(() => server.write(packet));
      else server.write(packet);
    });
    client.on('close', () => {
      if (!isCut) server.end();
    });
    server.on('data', (packet) => {
      const deliver = () => client.destroyed || client.write(packet);
      if (delayMs === 0) deliver();
      else setTimeout(deliver, delayMs);
      delayMs = 0;
    });
    server.on('close', () => {
      this.#sockets.splice(this.#sockets.indexOf(server), 1);
      client.destroy();
    });
  }
}
