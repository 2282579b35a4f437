/** One line of a benchmark's result: a value beside its floor from the same run, and the budget for their ratio. */

export interface Row {
  readonly name: string;
  readonly unit: string;
  readonly value: number;
  /** What the machine gives without Mayfly, measured in the same run. */
  readonly floor: number;
  readonly ratio: number;
  /** `<= 6` or `>= 0.4`; absent for what is told without a demand. */
  readonly budget?: string;
  /** True also where there is no budget. */
  readonly ok: boolean;
}

export interface Budget {
  readonly atMost?: number;
  readonly atLeast?: number;
}

export function row(name: string, unit: string, value: number, floor: number, budget: Budget = {}): Row {
  const ratio = value / floor;
  const { atMost, atLeast } = budget;
  const text = atMost !== undefined ? `<= ${atMost}` : atLeast !== undefined ? `>= ${atLeast}` : undefined;
  return {
    name,
    unit,
    value: round(value),
    floor: round(floor),
    ratio: round(ratio),
    ...(text === undefined ? {} : { budget: text }),
    ok: ratio <= (atMost ?? Infinity) && ratio >= (atLeast ?? 0),
  };
}

function round(value: number): number {
  return Number(value.toPrecision(4));
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted[Math.floor(sorted.length / 2)];
  if (middle === undefined) throw new Error('There is no median of nothing.');
  return middle;
}
