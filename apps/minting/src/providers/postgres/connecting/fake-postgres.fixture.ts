/** What answers at a PostgreSQL port and is no PostgreSQL, or not one that can be used: for what a real server can't be made to do. */
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { TestCertificate } from './certificates.fixture.ts';

/** PostgreSQL documentation §54.7, SSLRequest. */
const sslRequest = 80877103;

export interface FakeAnswers {
  /** To the SSLRequest; a certificate: yes, and TLS with that. Default no. Undefined stays silent. */
  readonly toSslRequest?: 'N' | 'E' | TestCertificate | 'silence';
  /** To the start-up packet, whose parameters it gets. */
  readonly toStartUp?: (parameters: ReadonlyMap<string, string>) => Buffer | 'silence';
}

export class FakePostgres {
  readonly #server: Server;
  readonly #sockets: Socket[] = [];
  /** What every start-up packet asked for. */
  readonly startUps: ReadonlyMap<string, string>[] = [];
  connections = 0;

  private constructor(private readonly answers: FakeAnswers) {
    this.#server = createServer((socket) => this.#serve(socket));
  }

  static async start(answers: FakeAnswers): Promise<FakePostgres> {
    const fake = new FakePostgres(answers);
    await new Promise<void>((resolve) => fake.#server.listen(0, '127.0.0.1', resolve));
    return fake;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #serve(socket: Socket): void {
    this.connections++;
    this.#sockets.push(socket);
    socket.on('error', () => undefined);
    socket.once('data', (packet) => {
      if (packet.readUInt32BE(4) !== sslRequest) return this.#startUp(socket, packet);
      const { toSslRequest = 'N' } = this.answers;
      if (toSslRequest === 'silence') return;
      if (typeof toSslRequest === 'string') {
        socket.write(toSslRequest);
        socket.once('data', (next) => this.#startUp(socket, next));
        return;
      }
      socket.write('S');
      const secure = new TLSSocket(socket, {
        isServer: true,
        cert: toSslRequest.cert,
        key: toSslRequest.key,
      });
      secure.on('error', () => undefined);
      secure.once('data', (next: Buffer) => this.#startUp(secure, next));
    });
  }

  #startUp(socket: Socket, packet: Buffer): void {
    const parameters = startUpParameters(packet);
    this.startUps.push(parameters);
    const answer = this.answers.toStartUp?.(parameters) ?? 'silence';
    if (answer !== 'silence') socket.write(answer);
  }
}

/** PostgreSQL documentation §54.7, StartupMessage. */
export function startUpParameters(packet: Buffer): ReadonlyMap<string, string> {
  const words = packet.toString('utf8', 8, packet.readUInt32BE(0)).split('\0');
  const parameters = new Map<string, string>();
  for (let index = 0; (words[index] ?? '') !== ''; index += 2)
    parameters.set(words[index] ?? '', words[index + 1] ?? '');
  return parameters;
}

/** The reverse of `startUpParameters`. */
export function startUpPacket(parameters: ReadonlyMap<string, string>): Buffer {
  const words = [...[...parameters].flat(), ''].map((word) => `${word}\0`).join('');
  const packet = Buffer.concat([Buffer.alloc(8), Buffer.from(words)]);
  packet.writeUInt32BE(packet.length, 0);
  packet.writeUInt32BE(196608, 4);
  return packet;
}

/** PostgreSQL documentation §54.7, ErrorResponse. */
export function errorResponse(code: string, text: string): Buffer {
  const fields = Buffer.from(`SFATAL\0VFATAL\0C${code}\0M${text}\0\0`);
  const head = Buffer.alloc(5);
  head.write('E');
  head.writeUInt32BE(fields.length + 4, 1);
  return Buffer.concat([head, fields]);
}
