/**
 * How this library tells what a request or an event is about (which lease, at which integration), so that log lines of the
 * work name it. The library knows no logger's context; `aboutWork` and `describeWork` of the telemetry library fit.
 */
export interface WorkScope {
  /** Runs `work` in a scope of its own, of which so much is known. Takes what it understands of `known`, never a value. */
  about<T>(known: object, work: () => T): T;
  /** Adds to the scope around. */
  describe(known: object): void;
}

/** Tells nobody. */
export const untold: WorkScope = {
  about: (_known, work) => work(),
  describe: () => undefined,
};
