/**
 * One `defineOperation` per operation is the only description of it. The NATS handler, the HTTP route, the OpenAPI
 * page and each service's NATS permissions are derived from it.
 */
import { z } from 'zod';
import type { ErrorCode } from './errors.ts';

export const serviceNames = ['gateway', 'policy', 'minting', 'revocation', 'audit'] as const;
export type ServiceName = (typeof serviceNames)[number];

/** How an operation is reached over the bus. */
export interface BusBinding {
  /** The service that answers; its name is also the queue group. */
  readonly service: ServiceName;
  /** Last token of `mayfly.rpc.<service>.<operation>`. */
  readonly operation: string;
  /** The services that may call it. NATS permissions are made from this, so nobody else can. */
  readonly callers: readonly ServiceName[];
  /** Default deadline of a call, in milliseconds. */
  readonly timeoutMs: number;
  /**
   * It ends something, keeps it from beginning, or commits what has begun: it must not wait behind what begins. The service answers
   * it in places of its own, however many others are held by an upstream that hangs. Default false.
   */
  readonly vital?: boolean;
}

/** How an operation is reached over HTTP. Input fields named in the path come from there; the others come from the query string for GET and DELETE and from the JSON body otherwise. */
export interface HttpBinding {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** OpenAPI path template: `/v1/leases/{lease_id}`. */
  readonly path: string;
  readonly status: number;
  /** Another status that it may answer with, in the same form. */
  readonly alsoStatus?: number;
  /** `none`, or `session`: `Authorization: Bearer <session token>` (RFC 6750 §2.1). */
  readonly auth: 'none' | 'session';
  /** `form`: `application/x-www-form-urlencoded`, as the OAuth RFCs ask. Default `json`. */
  readonly body?: 'json' | 'form';
  /** Which error body it answers with. Default `problem`. */
  readonly errors?: 'problem' | 'oauth';
  /**
   * It ends something, keeps it from beginning, or keeps a session alive: the gateway takes it in places of its own, however many others
   * are held. Default false.
   */
  readonly vital?: boolean;
  readonly tag: 'oauth' | 'credentials' | 'leases' | 'administration' | 'audit' | 'metadata';
}

export interface Operation<
  Input extends z.ZodType = z.ZodType,
  Output extends z.ZodType = z.ZodType,
  Bus extends BusBinding | undefined = BusBinding | undefined,
  Http extends HttpBinding | undefined = HttpBinding | undefined,
> {
  /** Unique name, also the OpenAPI `operationId`. */
  readonly name: string;
  readonly summary: string;
  readonly description?: string;
  readonly bus: Bus;
  readonly http: Http;
  readonly input: Input;
  readonly output: Output;
  /** The codes a caller must expect beside `invalid_request`, `dependency_unavailable` and `internal`. */
  readonly errors: readonly ErrorCode[];
}

export type BusOperation<I extends z.ZodType = z.ZodType, O extends z.ZodType = z.ZodType> = Operation<
  I,
  O,
  BusBinding,
  undefined
>;
export type HttpOperation<I extends z.ZodType = z.ZodType, O extends z.ZodType = z.ZodType> = Operation<
  I,
  O,
  undefined,
  HttpBinding
>;

/** What a caller passes and a handler receives: the parsed input. */
export type InputOf<Op> = Op extends Operation<infer I, z.ZodType> ? z.infer<I> : never;
/** What a caller may write: defaults not yet filled in. */
export type RawInputOf<Op> = Op extends Operation<infer I, z.ZodType> ? z.input<I> : never;
export type OutputOf<Op> = Op extends Operation<z.ZodType, infer O> ? z.infer<O> : never;

/** Declares an operation of the bus. */
export function defineOperation<const I extends z.ZodType, const O extends z.ZodType>(definition: {
  name: string;
  summary: string;
  description?: string;
  bus: BusBinding;
  input: I;
  output: O;
  errors: readonly ErrorCode[];
}): BusOperation<I, O>;
/** Declares an operation of the HTTP API. */
export function defineOperation<const I extends z.ZodType, const O extends z.ZodType>(definition: {
  name: string;
  summary: string;
  description?: string;
  http: HttpBinding;
  input: I;
  output: O;
  errors: readonly ErrorCode[];
}): HttpOperation<I, O>;
export function defineOperation(
  definition: Omit<Operation, 'bus' | 'http'> & { bus?: BusBinding; http?: HttpBinding },
): Operation {
  return Object.freeze({ ...definition, bus: definition.bus, http: definition.http });
}

/** `mayfly.rpc.<service>.<operation>` */
export function subjectOf(operation: BusOperation): string {
  return `mayfly.rpc.${operation.bus.service}.${operation.bus.operation}`;
}

/**
 * Where a service is asked whether it is there. The question is for how many milliseconds a replica must have been there, as a whole number;
 * each that has been answers for how many it has. No operation may be called so.
 */
export function presenceSubject(service: ServiceName): string {
  return `mayfly.rpc.${service}.presence`;
}
