/**
 * The driver's parser throws at what it does not understand, out of a listener, where nobody can catch it: one server that asks for
 * Kerberos, or one that means harm, would end the process with all that it does for others. Here such a connection is lost instead.
 */
import type { EventEmitter } from 'node:events';
import type { Duplex } from 'node:stream';

type Attach = (stream: Duplex) => void;

/** Call it before the connection is made. */
export function guardParser(connection: EventEmitter): void {
  // Not part of the driver's types; it is called once, with the stream that is parsed: the socket, or TLS on it.
  const attach = Reflect.get(connection, 'attachListeners') as Attach;
  const guarded: Attach = (stream) => {
    const before = new Set(stream.listeners('data'));
    attach.call(connection, stream);
    for (const parse of stream.listeners('data')) {
      if (before.has(parse)) continue;
      stream.off('data', parse as () => void);
      stream.on('data', (bytes: Buffer) => {
        try {
          parse.call(stream, bytes);
        } catch (error) {
          stream.destroy(error as Error);
        }
      });
    }
  };
  Reflect.set(connection, 'attachListeners', guarded);
}
