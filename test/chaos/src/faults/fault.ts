/** What a fault is, and what it may use. */
import type { FaultLog } from '../checks/fault-log.ts';
import type { Register } from '../checks/register.ts';
import type { HttpClient } from '../load/http-client.ts';
import type { Ledger } from '../load/ledger.ts';
import type { Load } from '../load/load.ts';
import type { Random } from '../load/random.ts';
import type { ChaosStack } from '../stack/chaos-stack.ts';

/** The parts of a run. */
export interface Scene extends ChaosStack {
  readonly load: Load;
  readonly ledger: Ledger;
  readonly register: Register;
  readonly faults: FaultLog;
  readonly random: Random;
  readonly http: HttpClient;
}

/** Something that goes wrong, and is mended again. */
export interface Fault {
  readonly name: string;
  /**
   * Does the harm and mends it. The time between the two is told by `broken`, around all that stands in the way. Throws
   * FaultNotPossible where this machine can't do it, any other error when what was promised was not kept.
   */
  run(scene: Scene, broken: Broken): Promise<void>;
}

/** Runs `work` as the time of the fault; its end is when things are mended. */
export type Broken = <T>(work: () => Promise<T>) => Promise<T>;

/** This machine does not permit it; shown in the table, never as passed. */
export class FaultNotPossible extends Error {
  override readonly name = 'FaultNotPossible';
}
