/** A clock that is wrong, for tests: `Date` of this process, shifted. The monotonic clock and timers are as they were. */

/** From now on `new Date()` and `Date.now()` are `offsetMs` milliseconds off. Dates that exist stay as they are. */
export function shiftClock(offsetMs: number): void {
  const real = globalThis.Date;
  const now = (): number => real.now() + offsetMs;
  // A proxy, so that what is made by either is an instance of both.
  globalThis.Date = new Proxy(real, {
    construct: (target, given: unknown[], newTarget) =>
      Reflect.construct(target, given.length === 0 ? [now()] : given, newTarget) as object,
    apply: () => new real(now()).toString(),
    get: (target, key, receiver) => (key === 'now' ? now : (Reflect.get(target, key, receiver) as unknown)),
  });
}
