/** Durations of the command line: `90s`, `15m`, `1h`, `7d`. */
import { InvalidArgumentError, Option } from 'commander';

const seconds = { s: 1, m: 60, h: 3_600, d: 86_400 } as const;

/** Whole seconds, at least one. Throws InvalidArgumentError. */
export function parseDuration(text: string): number {
  const match = /^(\d{1,9})([smhd])$/.exec(text.trim());
  const amount = Number(match?.[1] ?? 0) * seconds[(match?.[2] ?? 's') as keyof typeof seconds];
  if (amount < 1) throw new InvalidArgumentError('A duration looks like 90s, 15m or 1h.');
  return amount;
}

/** A point in the past as an instant: `1h` (that long ago) or an RFC 3339 time. Throws InvalidArgumentError. */
export function parseSince(text: string, now: Date): string {
  if (/^\d+[smhd]$/.test(text)) return new Date(now.getTime() - parseDuration(text) * 1000).toISOString();
  const instant = /^\d{4}-\d{2}-\d{2}(T[\d:.]+(Z|[+-]\d{2}:\d{2}))?$/.test(text) ? new Date(text) : undefined;
  if (instant === undefined || Number.isNaN(instant.getTime())) {
    throw new InvalidArgumentError('Say how long ago (90s, 15m, 1h, 7d) or when (2026-11-20T18:00:00Z).');
  }
  return instant.toISOString();
}

/** How many whole seconds until then: `2h` (after that long) or an RFC 3339 time ahead. Throws InvalidArgumentError. */
export function parseUntil(text: string, now: Date): number {
  if (/^\d+[smhd]$/.test(text)) return parseDuration(text);
  const instant = /^\d{4}-\d{2}-\d{2}T[\d:.]+(Z|[+-]\d{2}:\d{2})$/.test(text) ? Date.parse(text) : Number.NaN;
  const seconds = Math.ceil((instant - now.getTime()) / 1000);
  if (Number.isNaN(seconds) || seconds < 1) {
    throw new InvalidArgumentError(
      'Say after how long (90s, 15m, 2h, 7d) or when, ahead (2026-11-20T18:00:00Z).',
    );
  }
  return seconds;
}

/** `--timeout` of the commands that wait for a revocation; seconds. */
export function waitTimeout(): Option {
  return new Option('--timeout <duration>', 'with --wait: how long at most')
    .argParser((text: string) => parseDuration(text))
    .default(600, '10m');
}
