/**
 * What the work under way is about: which lease, at which integration. Known at the edge of a service or a step further in, and
 * wanted by every log line below, so it travels beside the work and no line has to be given it. It lives in an AsyncLocalStorage
 * of its own, so that it works without tracing.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { trace, type Attributes } from '@opentelemetry/api';
import { SpanAttribute } from './attributes.ts';

/** What log lines name, and the span attribute of the same thing. */
const attributeOf = {
  lease_id: SpanAttribute.leaseId,
  session_id: SpanAttribute.sessionId,
  organization: SpanAttribute.organization,
  credential: SpanAttribute.credential,
  integration: SpanAttribute.integration,
  provider: SpanAttribute.provider,
} as const;

type SubjectField = keyof typeof attributeOf;

/** Names of things, as in events and in the API; never a value that could be a secret. */
export type WorkSubject = Readonly<Partial<Record<SubjectField, string>>>;

type Scope = Partial<Record<SubjectField, string>>;

/** Longer values are no names. */
const longestName = 256;

const storage = new AsyncLocalStorage<Scope>();

/** Gives `work` a scope of its own: what is told of it, now or by `describeWork` within, is in each of its log lines. */
export function aboutWork<T>(subject: object, work: () => T): T {
  return storage.run(subjectOf(subject), work);
}

/**
 * Tells what the work under way is about, as soon as that is known. Takes from any object (an input, a grant's facts) the fields of
 * `WorkSubject` and nothing else. The active span gets them too.
 */
export function describeWork(subject: object): void {
  const known = subjectOf(subject);
  const scope = storage.getStore();
  if (scope !== undefined) Object.assign(scope, known);
  trace.getActiveSpan()?.setAttributes(attributesOf(known));
}

/** What is known of the work under way, for log lines. */
export function workFields(): WorkSubject {
  return storage.getStore() ?? {};
}

/** A scope for the work of a span, known by the span's attributes; `outer` is what it is a part of. */
export function aboutSpan<T>(attributes: Attributes, outer: WorkSubject, work: () => T): T {
  const fields = (Object.keys(attributeOf) as SubjectField[]).map(
    (field) => [field, attributes[attributeOf[field]]] as const,
  );
  return storage.run({ ...outer, ...subjectOf(Object.fromEntries(fields)) }, work);
}

function subjectOf(known: object): Scope {
  const subject: Scope = {};
  for (const field of Object.keys(attributeOf) as SubjectField[]) {
    const value: unknown = Reflect.get(known, field);
    if (typeof value === 'string' && value !== '' && value.length <= longestName) subject[field] = value;
  }
  // A credential is named `<integration>/<name>`.
  const [integration] = subject.credential?.split('/') ?? [];
  if (subject.integration === undefined && integration) subject.integration = integration;
  return subject;
}

function attributesOf(subject: WorkSubject): Attributes {
  return Object.fromEntries(
    Object.entries(subject).map(([field, value]) => [attributeOf[field as SubjectField], value]),
  );
}
