/** What policy tells audit: events beside its own changes, and signals of what it refused. */
import type { EventData, EventType, MayflyEvent, SignalType } from '@mayfly/contracts';
import { newEvent, type EventPublisher } from '@mayfly/messaging';
import { currentTraceId, currentTraceparent } from '@mayfly/telemetry';
import { actorOf, type Session } from '../sessions/session.ts';

/** An event or signal of policy in the trace of the request under way. Long reasons are cut to what events may hold. */
export function policyEvent(
  type: EventType | SignalType,
  data: EventData,
  options: { subject?: string } = {},
): MayflyEvent {
  const traceId = currentTraceId();
  const traceparent = currentTraceparent();
  return newEvent(
    'policy',
    type,
    {
      ...data,
      ...(data.reason === undefined ? {} : { reason: data.reason.slice(0, 1024) }),
      ...(traceId === undefined ? {} : { trace_id: traceId, event_trace_id: traceId }),
    },
    { ...options, ...(traceparent === undefined ? {} : { traceparent }) },
  );
}

/** An event about a session, with whose it is. */
export function sessionEvent(
  type: 'session.opened' | 'session.closed' | 'session.expired',
  session: Omit<Session, 'expiresAt'>,
  data: EventData = {},
): MayflyEvent {
  return policyEvent(type, { ...actorOf(session), ...data }, { subject: session.id });
}

export interface SignalLogger {
  warn(fields: object, message: string): void;
}

/** Longest that an answer waits for its signal to be stored, in milliseconds. */
const longestWaitMs = 250;
/** Most signals under way at once: refusing costs bounded memory, however fast strangers ask. */
const mostUnderWay = 1_000;

/** Reports refusals. An answer waits for the report a moment, and never fails for it. */
export class SignalReporter {
  #underWay = 0;
  #dropped = 0;

  constructor(
    private readonly publisher: Pick<EventPublisher, 'signal'>,
    private readonly logger: SignalLogger,
  ) {}

  /** Resolves when the signal is stored, at the latest after 250 ms. Never rejects. */
  async report(type: SignalType, data: EventData, options: { subject?: string } = {}): Promise<void> {
    if (this.#underWay >= mostUnderWay) {
      this.#dropped += 1;
      if (Math.log10(this.#dropped) % 1 === 0) {
        this.logger.warn({ dropped: this.#dropped }, 'signals dropped: too many are under way');
      }
      return;
    }
    this.#underWay += 1;
    const stored = this.publisher.signal(policyEvent(type, data, options)).finally(() => {
      this.#underWay -= 1;
    });
    let timer: NodeJS.Timeout | undefined;
    const waited = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, longestWaitMs);
    });
    await Promise.race([stored, waited]).catch(() => undefined);
    clearTimeout(timer);
  }
}
