/**
 * A pooler in front of a real server that is told to overlook start-up parameters it does not know (PgBouncer's
 * `ignore_startup_parameters`): it hands on user and database, and nothing else.
 */
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { startUpPacket, startUpParameters } from './fake-postgres.fixture.ts';

export class ParameterDroppingPooler {
  readonly #sockets: Socket[] = [];

  private constructor(private readonly server: Server) {}

  /** In front of the server that listens there. */
  static async before(port: number, host: string): Promise<ParameterDroppingPooler> {
    const server = createServer();
    const pooler = new ParameterDroppingPooler(server);
    server.on('connection', (client) => pooler.#join(client, connect(port, host)));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return pooler;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }

  #join(client: Socket, server: Socket): void {
    this.#sockets.push(client, server);
    for (const socket of [client, server]) socket.on('error', () => undefined);
    client.on('close', () => server.destroy());
    const onFirst = (packet: Buffer): void => {
      const isStartUp = packet.readUInt32BE(4) === 196608;
      if (!isStartUp) {
        client.write('N');
        client.once('data', onFirst);
        return;
      }
      const kept = [...startUpParameters(packet)].filter(([name]) => ['user', 'database'].includes(name));
      server.write(startUpPacket(new Map(kept)));
      client.pipe(server).pipe(client);
    };
    client.once('data', onFirst);
  }
}
