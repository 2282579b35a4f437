/** Instants to the microsecond, which is what Postgres keeps and queries compare, and a `Date` can't hold. */

/** `2030-01-31T12:00:00.123Z` of an event, or `2030-01-31 12:00:00.123456+00` of Postgres in UTC with DateStyle ISO. */
const instant = /^(\d{4,6}-\d{2}-\d{2})[T ](\d{2}:\d{2}(?::\d{2})?)(?:\.(\d+))?(?:Z|\+00)$/;

/** Microseconds since 1970, rounded as Postgres rounds; undefined for anything else, such as `infinity`. */
export function microsecondsOf(text: string): bigint | undefined {
  const match = instant.exec(text);
  if (match === null) return undefined;
  const [, day = '', time = '', fraction = ''] = match;
  const milliseconds = Date.parse(`${day}T${time}Z`);
  if (Number.isNaN(milliseconds)) return undefined;
  return BigInt(milliseconds) * 1000n + BigInt(Math.round(Number(`0.${fraction}0`) * 1_000_000));
}
