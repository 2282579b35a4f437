/** Undoing a start, also a half-done one: what was started last ends first. */

/** A list of things to undo. */
export class CleanUp {
  private readonly steps: (() => unknown)[] = [];
  private running: Promise<void> | undefined;

  /** To be done by `run`, before everything that was added earlier. */
  add(step: () => unknown): void {
    this.steps.push(step);
  }

  /**
   * Does all steps once, whoever calls and how often; one that fails does not keep the others from being done.
   * @throws AggregateError with what failed
   */
  run(): Promise<void> {
    return (this.running ??= this.doAll());
  }

  private async doAll(): Promise<void> {
    const errors: unknown[] = [];
    for (const step of this.steps.toReversed()) {
      try {
        await step();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw new AggregateError(errors, 'Not everything could be stopped.');
  }
}
