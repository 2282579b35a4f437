import { describe, expect, it } from '@jest/globals';
import type { TopologyProblem } from '@mayfly/messaging';
import { TopologyWatch } from './topology-watch.ts';

const changed: TopologyProblem = { object: 'MAYFLY_EVENTS', kind: 'changed', sentence: 'max_msgs is 1' };
const missing: TopologyProblem = { object: 'audit-events', kind: 'missing', sentence: 'it is not there' };

describe('TopologyWatch', () => {
  it('is not ready while anything is wrong, and tells each thing once until it is right again', async () => {
    let problems: TopologyProblem[] = [changed, missing];
    const told: string[] = [];
    const tell = (level: string) => (_: object, message: string) => told.push(`${level}: ${message}`);
    const looks: number[] = [];
    const watch = new TopologyWatch({
      look: () => Promise.resolve(problems),
      logger: { warn: tell('warn'), error: tell('error'), info: tell('info') },
      onLook: (found) => looks.push(found.length),
    });
    expect([await watch.isReady(), await watch.isReady()]).toEqual([false, false]);
    expect(told).toEqual(['error: max_msgs is 1', 'warn: it is not there']);
    problems = [];
    expect([await watch.isReady(), await watch.isReady()]).toEqual([true, true]);
    problems = [changed];
    expect(await watch.isReady()).toBe(false);
    expect(told.slice(2)).toEqual([
      'info: the streams and consumers are as declared again',
      'error: max_msgs is 1',
    ]);
    expect(looks).toEqual([2, 2, 0, 0, 1]);
  });
});
