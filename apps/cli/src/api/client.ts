/**
 * The HTTP API, typed by the contracts: one generic call. Method, path, the form of the body and of errors come from the
 * operation; what is sent and what is received are checked against its schemas.
 */
import type { HttpOperation } from '@mayfly/contracts';
import type { Secret } from '@mayfly/domain';
import type { z } from 'zod';
import { CommandFailure, failureOf, systemErrorCode, unreachableExit, usageFailure } from '../failure.ts';
import { failureOfAnswer } from './failed-answer.ts';

/** Longer than the longest deadline of the gateway. Milliseconds. */
const usualTimeoutMs = 60_000;
/** A page of 1,000 audit events is far below it. */
const maxAnswerBytes = 32 * 1024 * 1024;

export interface CallLimits {
  /** Gives the call up; it then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** How long to wait for the answer; a minute unless told. Milliseconds. */
  readonly timeoutMs?: number | undefined;
}

export interface CallOptions extends CallLimits {
  /** Session token, for operations with `auth: session`. */
  readonly token?: Secret;
}

export class GatewayClient {
  readonly #url: string;
  readonly #fetch: typeof fetch;
  readonly #traceparent: string;

  constructor(options: {
    /** Without a trailing slash. */
    readonly url: string;
    readonly fetch: typeof fetch;
    readonly traceparent: string;
  }) {
    this.#url = options.url;
    this.#fetch = options.fetch;
    this.#traceparent = options.traceparent;
  }

  /** @throws CommandFailure for everything but an answer as the contract promises it. */
  async call<I extends z.ZodType, O extends z.ZodType>(
    operation: HttpOperation<I, O>,
    input: z.input<I>,
    { token, signal, timeoutMs = usualTimeoutMs }: CallOptions = {},
  ): Promise<z.output<O>> {
    const checked = operation.input.safeParse(input);
    if (!checked.success) throw usageFailure(`The request is not valid: ${mistakeIn(checked.error)}.`);
    const { url, init } = requestOf(this.#url, operation, input as Record<string, unknown>);
    const headers = new Headers(init.headers);
    headers.set('accept', 'application/json');
    headers.set('traceparent', this.#traceparent);
    if (token !== undefined) headers.set('authorization', `Bearer ${token.reveal()}`);
    const limits = AbortSignal.any([
      AbortSignal.timeout(timeoutMs),
      ...(signal === undefined ? [] : [signal]),
    ]);
    const { status, body } = await this.#exchange(url, { ...init, headers, signal: limits }, signal);
    if (status !== operation.http.status) throw failureOfAnswer(operation, status, body);
    const answer = operation.output.safeParse(body);
    if (!answer.success) {
      throw failureOf('internal', 'The gateway answered in a form that this mayfly does not know.', {
        next: 'Compare `mayfly version` with the version of the gateway.',
        traceId: this.#traceparent.split('-')[1],
      });
    }
    return answer.data;
  }

  async #exchange(
    url: string,
    init: RequestInit,
    given: AbortSignal | undefined,
  ): Promise<{ status: number; body: unknown }> {
    try {
      // A redirect would carry a token to wherever it points.
      const response = await this.#fetch(url, { ...init, redirect: 'manual' });
      return { status: response.status, body: await readJson(response) };
    } catch (error) {
      if (given?.aborted === true) throw given.reason;
      if (error instanceof CommandFailure) throw error;
      throw unreachable(this.#url, error);
    }
  }
}

function requestOf(
  base: string,
  { http }: HttpOperation,
  input: Record<string, unknown>,
): { url: string; init: RequestInit } {
  const fields = new Map(Object.entries(input).filter(([, value]) => value !== undefined));
  const path = http.path.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = String(fields.get(name));
    fields.delete(name);
    return encodeURIComponent(value);
  });
  const { method } = http;
  if (method === 'GET' || method === 'DELETE') {
    const query = formOf(fields).toString();
    return { url: `${base}${path}${query === '' ? '' : `?${query}`}`, init: { method } };
  }
  const body = http.body === 'form' ? formOf(fields).toString() : JSON.stringify(Object.fromEntries(fields));
  const type = http.body === 'form' ? 'application/x-www-form-urlencoded' : 'application/json';
  return { url: `${base}${path}`, init: { method, body, headers: { 'content-type': type } } };
}

/** An object inside a form field travels as JSON text. */
function formOf(fields: ReadonlyMap<string, unknown>): URLSearchParams {
  const form = new URLSearchParams();
  for (const [name, value] of fields)
    form.set(name, typeof value === 'string' ? value : JSON.stringify(value));
  return form;
}

/** Undefined when the answer is not JSON. */
async function readJson(response: Response): Promise<unknown> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  const body: AsyncIterable<Uint8Array> | Uint8Array[] = response.body ?? [];
  for await (const chunk of body) {
    size += chunk.byteLength;
    if (size > maxAnswerBytes)
      throw failureOf('internal', 'The gateway answered with more than can be read.');
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8')) as unknown;
  } catch {
    return undefined;
  }
}

function unreachable(url: string, error: unknown): CommandFailure {
  const { name, cause } = (error ?? {}) as { name?: unknown; cause?: unknown };
  const code = systemErrorCode(cause);
  const why = code === undefined ? '' : ` (${code})`;
  const timedOut = name === 'TimeoutError';
  const sentence = timedOut
    ? `The gateway at ${url} does not answer in time.`
    : `The gateway at ${url} can't be reached${why}; is it running?`;
  return new CommandFailure(sentence, {
    exit: unreachableExit,
    next: '`npm start` runs a development stack; --url or MAYFLY_URL names another gateway.',
  });
}

function mistakeIn(error: z.ZodError): string {
  const issue = error.issues[0];
  if (issue === undefined) return 'unknown';
  const where = issue.path.map(String).join('.');
  return where === '' ? issue.message : `${where}: ${issue.message}`;
}
