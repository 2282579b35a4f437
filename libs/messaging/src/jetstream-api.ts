/** JetStream's JSON API, without the client library's own ideas of what a configuration should be: an update there keeps what it finds. */
import type { NatsConnection } from '@nats-io/transport-node';
import { request } from './request.ts';
import { parseJson } from './rpc/wire.ts';

/** JetStream's answer, or its refusal. */
export type ApiAnswer<Answer> = { readonly ok: Answer } | { readonly refused: ApiRefusal };

/** Why JetStream did not do it. */
export interface ApiRefusal {
  /** JetStream's own code: 10059 for a stream, 10014 for a consumer that does not exist. */
  readonly code: number;
  readonly description: string;
}

/** "stream not found" and "consumer not found". */
export const notFound: readonly number[] = [10_059, 10_014];

/** How long one call takes at most, in milliseconds. */
const timeoutMs = 5_000;

/**
 * Calls `$JS.API.<what>`.
 * @throws MayflyError as `request` does
 */
export async function callJetStream<Answer>(
  connection: NatsConnection,
  what: string,
  body?: object,
  waitMs = timeoutMs,
): Promise<ApiAnswer<Answer>> {
  const payload = body === undefined ? '' : JSON.stringify(body);
  const reply = await request(connection, `$JS.API.${what}`, payload, {
    what: 'the event log',
    timeoutMs: waitMs,
  });
  const answer = parseJson(reply.data) as
    (Answer & { error?: { err_code?: number; code?: number; description?: string } }) | null;
  if (answer === null || typeof answer !== 'object')
    return { refused: { code: 0, description: 'no answer that can be read' } };
  if (answer.error === undefined) return { ok: answer };
  const { err_code: own, code = 0, description = 'refused' } = answer.error;
  return { refused: { code: own ?? code, description } };
}

/** What we read of `STREAM.INFO`. */
export interface StreamInfo {
  readonly config: Readonly<Record<string, unknown>>;
  readonly state: { readonly last_seq: number };
}

/** What we read of `CONSUMER.INFO`. */
export interface ConsumerInfo {
  readonly config: Readonly<Record<string, unknown>>;
  readonly delivered: { readonly stream_seq: number };
}

/** Whether a consumer has had what its stream does not have any more. */
export function isAhead(consumer: ConsumerInfo, stream: StreamInfo): boolean {
  return consumer.delivered.stream_seq > stream.state.last_seq;
}
