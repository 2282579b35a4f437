/** Load: so many workers, each doing one thing after the other. */
import { median } from './row.ts';

export interface LoadResult {
  /** Things done per second. */
  readonly rate: number;
  /** Median duration of one, in milliseconds. */
  readonly p50: number;
}

/** Runs `work` at a concurrency for about so long. A failure ends the run: a benchmark of errors says nothing. */
export async function underLoad(
  concurrency: number,
  durationMs: number,
  work: () => Promise<void>,
): Promise<LoadResult> {
  const durations: number[] = [];
  const started = performance.now();
  const end = started + durationMs;
  await Promise.all(
    Array.from({ length: concurrency }, async () => {
      while (performance.now() < end) {
        const before = performance.now();
        await work();
        durations.push(performance.now() - before);
      }
    }),
  );
  return { rate: (durations.length / (performance.now() - started)) * 1000, p50: median(durations) };
}

/**
 * Measures a thing and its floor in turn, several rounds, so that a machine whose speed drifts treats both alike. Answers
 * with the medians.
 */
export async function inTurn(
  rounds: number,
  floor: () => Promise<LoadResult>,
  measured: () => Promise<LoadResult>,
): Promise<{ floor: LoadResult; measured: LoadResult }> {
  const floors: LoadResult[] = [];
  const values: LoadResult[] = [];
  for (let round = 0; round < rounds; round++) {
    floors.push(await floor());
    values.push(await measured());
  }
  return { floor: medianOf(floors), measured: medianOf(values) };
}

function medianOf(results: readonly LoadResult[]): LoadResult {
  return { rate: median(results.map(({ rate }) => rate)), p50: median(results.map(({ p50 }) => p50)) };
}
