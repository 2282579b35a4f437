/**
 * What tells one's own things upstream from another's: a lease id carries a mark of the installation, the organization and the
 * integration that it was made for. Two installations of Mayfly may share a database, each finds its own by the name alone,
 * and nothing has to be stored upstream beside it.
 */
import { createHash } from 'node:crypto';

/** Hexadecimal digits of a mark: 40 bits. */
const markLength = 10;

/** @param installation UUID of this installation of Mayfly. */
export function leaseMark(installation: string, organization: string, integration: string): string {
  return createHash('sha256')
    .update(JSON.stringify(['mayfly lease mark', installation, organization, integration]))
    .digest('hex')
    .slice(0, markLength);
}

/**
 * A UUIDv7 with a mark in place of its last 40 random bits. It stays one (RFC 9562 §5.7): the time and 34 random bits tell
 * apart what is made within a millisecond.
 */
export function withMark(uuid: string, mark: string): string {
  return uuid.slice(0, -markLength) + mark;
}

/** Whether a lease id carries this mark. */
export function hasMark(uuid: string, mark: string): boolean {
  return uuid.endsWith(mark);
}

/** When a UUIDv7 was made, in milliseconds of the epoch. */
export function madeAt(uuid: string): number {
  return Number.parseInt(uuid.replaceAll('-', '').slice(0, 12), 16);
}
