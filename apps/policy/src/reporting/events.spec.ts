import { describe, expect, it } from '@jest/globals';
import type { MayflyEvent } from '@mayfly/contracts';
import { policyEvent, SignalReporter } from './events.ts';

describe('SignalReporter', () => {
  it('makes no answer wait for a stream that is silent, and holds a bounded number of signals', async () => {
    const started: MayflyEvent[] = [];
    const warnings: object[] = [];
    const never = (event: MayflyEvent) => {
      started.push(event);
      return new Promise<void>(() => undefined);
    };
    const reporter = new SignalReporter({ signal: never }, { warn: (fields) => void warnings.push(fields) });
    await Promise.all(
      Array.from({ length: 1_010 }, () => reporter.report('request.denied', { reason: 'x' })),
    );
    expect(started).toHaveLength(1_000);
    expect(warnings).toEqual([{ dropped: 1 }, { dropped: 10 }]);
  });

  it('resolves once the signal is stored', async () => {
    let stored = false;
    const reporter = new SignalReporter(
      { signal: () => Promise.resolve(void (stored = true)) },
      { warn: () => undefined },
    );
    await reporter.report('session.rejected', {});
    expect(stored).toBe(true);
  });
});

describe('policyEvent', () => {
  it('cuts a reason to what an event may hold', () => {
    expect(policyEvent('request.denied', { reason: 'x'.repeat(5_000) }).data.reason).toHaveLength(1_024);
  });
});
