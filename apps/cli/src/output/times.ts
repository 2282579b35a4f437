/** Times for people. JSON output keeps the instants as they came. */

/** `in 4m 32s`, `3h 5m ago`, `now`: the two largest units of the distance. Absent instants are `-`. */
export function relativeTime(instant: string | undefined, now: Date): string {
  if (instant === undefined) return '-';
  const seconds = Math.round((Date.parse(instant) - now.getTime()) / 1000);
  if (Number.isNaN(seconds)) return '-';
  if (seconds === 0) return 'now';
  const text = durationText(Math.abs(seconds));
  return seconds > 0 ? `in ${text}` : `${text} ago`;
}

/** `4m 32s` of 272: at most two units, those that are zero left out. */
export function durationText(seconds: number): string {
  const parts: (readonly [number, string])[] = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3_600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'm'],
    [seconds % 60, 's'],
  ];
  const first = parts.findIndex(([amount]) => amount > 0);
  if (first === -1) return '0s';
  return parts
    .slice(first, first + 2)
    .filter(([amount]) => amount > 0)
    .map(([amount, unit]) => `${amount}${unit}`)
    .join(' ');
}

/** `2026-11-20 19:04:05Z`: UTC, to the second. */
export function clockTime(instant: string): string {
  const date = new Date(instant);
  return Number.isNaN(date.getTime()) ? '-' : date.toISOString().replace('T', ' ').replace(/\.\d+/, '');
}
