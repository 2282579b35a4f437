/** The trace of one command: the caller's, where `TRACEPARENT` names one, else a new one. */
import { randomBytes } from 'node:crypto';
import { Traceparent } from '@mayfly/contracts';
import type { Io } from '../io.ts';

/** W3C `traceparent`, version 00, sampled (Trace Context §3.2). */
export function traceparentOf(env: Io['env']): string {
  const given = Traceparent.safeParse(env['TRACEPARENT']);
  if (given.success && !/^00-(0{32}|.{32}-0{16})/.test(given.data)) return given.data;
  return `00-${randomBytes(16).toString('hex')}-${randomBytes(8).toString('hex')}-01`;
}
