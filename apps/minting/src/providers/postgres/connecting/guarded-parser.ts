/**
 * The driver's parser throws at what it does not understand, out of a listener, where nobody can catch it: one server that asks for
 * Kerberos, or one that means harm, would end the process with all that it does for others. Here such a connection is lost instead.
 *
 * The parser also makes a buffer as large as any message that is announced, and the driver keeps all rows of an answer. So what a
 * server sends is counted, and a connection is lost that sends more than any answer to us is long: one upstream that lies could
 * otherwise take the memory of all.
 */
import type { EventEmitter } from 'node:events';
import type { Duplex } from 'node:stream';

type Attach = (stream: Duplex) => void;
type Send = (...message: unknown[]) => unknown;

/** What a server may send before the first statement, in bytes: how to log in, its settings, its notices. */
export const mostBytesAtStart = 64 * 1024;

/** What it may send as the answer to one text, in bytes. The longest of ours is a list of a thousand names; custom statements may ask for more. */
export const mostBytesOfAnswer = 4 * 1024 * 1024;

/** Call it before the connection is made. */
export function guardParser(connection: EventEmitter): void {
  let bytesLeft = mostBytesAtStart;
  // Counted from what is asked, and not from what the server says it has answered: it may say so as often as it likes.
  for (const message of ['query', 'parse']) {
    const send = Reflect.get(connection, message) as Send;
    Reflect.set(connection, message, (...parts: unknown[]) => {
      bytesLeft = mostBytesOfAnswer;
      return send.apply(connection, parts);
    });
  }
  // Not part of the driver's types; it is called once, with the stream that is parsed: the socket, or TLS on it.
  const attach = Reflect.get(connection, 'attachListeners') as Attach;
  const guarded: Attach = (stream) => {
    const before = new Set(stream.listeners('data'));
    attach.call(connection, stream);
    for (const parse of stream.listeners('data')) {
      if (before.has(parse)) continue;
      stream.off('data', parse as () => void);
      stream.on('data', (bytes: Buffer) => {
        bytesLeft -= bytes.length;
        if (bytesLeft < 0)
          return void stream.destroy(new Error('the server sends more than it was asked for'));
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
