/** Stores what cannot be processed, with the reason and where it came from. */
import type { ServiceName } from '@mayfly/contracts';
import { headers as newHeaders } from '@nats-io/transport-node';
import type { MsgHdrs, NatsConnection } from '@nats-io/transport-node';
import { deadSubject } from '../topology.ts';
import { store } from './store.ts';

export interface DeadLetter {
  data: Uint8Array;
  reason: string;
  /** Names the message among all dead letters, so that it is stored once. */
  messageId: string;
  /** Where it came from: `Mayfly-Stream`, `Mayfly-Sequence` and so on. */
  origin: Record<string, string>;
  /** The message's own headers; only its trace context is kept. */
  headers?: MsgHdrs | undefined;
}

/** Longest payload that is kept, in bytes: with its headers it has to fit into NATS' 1 MiB. */
const keptBytes = 900 * 1024;

/** Resolves when `MAYFLY_DEAD` has stored it. Throws `MayflyError` like `EventPublisher.publish`. */
export async function storeDeadLetter(
  connection: NatsConnection,
  service: ServiceName,
  letter: DeadLetter,
): Promise<void> {
  const headers = newHeaders();
  headers.set('Nats-Msg-Id', letter.messageId);
  headers.set('Mayfly-Reason', headerText(letter.reason));
  for (const [name, value] of Object.entries(letter.origin)) headers.set(name, headerText(value));
  for (const name of ['traceparent', 'tracestate']) {
    const value = letter.headers?.get(name);
    if (value) headers.set(name, value);
  }
  if (letter.data.length > keptBytes) headers.set('Mayfly-Truncated', String(letter.data.length));
  await store(connection, 'MAYFLY_DEAD', deadSubject(service), letter.data.subarray(0, keptBytes), {
    headers,
    timeoutMs: 5_000,
  });
}

/** A header value: printable ASCII on one line, at most 512 characters. */
function headerText(value: string): string {
  return value.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 512);
}
