/** One request over NATS that fails fast, and only with a `MayflyError`. */
import { MayflyError } from '@mayfly/contracts';
import {
  InvalidArgumentError,
  NoRespondersError,
  PermissionViolationError,
  RequestError,
  TimeoutError,
} from '@nats-io/transport-node';
import type { Msg, MsgHdrs, NatsConnection } from '@nats-io/transport-node';
import { watch } from './connection.ts';

/**
 * Sends and waits for the reply.
 *
 * Errors: `dependency_unavailable` when nobody answers, in time or at all, or the connection is or goes down (the outcome
 * is then unknown); `internal` when the server's permissions forbid the subject. Reasons name `what`, never the text of NATS.
 */
export function request(
  connection: NatsConnection,
  subject: string,
  payload: string | Uint8Array,
  options: { what: string; timeoutMs: number; headers?: MsgHdrs },
): Promise<Msg> {
  const { what, headers } = options;
  const state = watch(connection);
  if (!state.connected || connection.isClosed()) return Promise.reject(disconnected(what));
  return new Promise((resolve, reject) => {
    const onDisconnect = () => {
      state.onDisconnect.delete(onDisconnect);
      reject(disconnected(what));
    };
    state.onDisconnect.add(onDisconnect);
    connection
      .request(subject, payload, {
        timeout: Math.max(1, Math.ceil(options.timeoutMs)),
        ...(headers === undefined ? {} : { headers }),
      })
      .then(
        (reply) => {
          state.onDisconnect.delete(onDisconnect);
          resolve(reply);
        },
        (cause: unknown) => {
          state.onDisconnect.delete(onDisconnect);
          reject(explain(what, cause));
        },
      );
  });
}

function disconnected(what: string): MayflyError {
  return new MayflyError('dependency_unavailable', `${what} cannot be reached: the bus is disconnected`);
}

function explain(what: string, cause: unknown): MayflyError {
  const inner = cause instanceof RequestError ? (cause.cause ?? cause) : cause;
  if (inner instanceof NoRespondersError) {
    return new MayflyError('dependency_unavailable', `${what} is not available`, { cause });
  }
  if (inner instanceof TimeoutError) {
    return new MayflyError('dependency_unavailable', `${what} did not answer in time`, { cause });
  }
  if (inner instanceof PermissionViolationError) {
    return new MayflyError('internal', `${what} may not be called from here`, { cause });
  }
  if (inner instanceof InvalidArgumentError) {
    return new MayflyError('internal', `the message to ${what} is too large`, { cause });
  }
  return new MayflyError('dependency_unavailable', `${what} cannot be reached`, { cause });
}
