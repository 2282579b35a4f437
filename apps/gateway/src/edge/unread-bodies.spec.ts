import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { bytesOfPlace, UnreadBodies } from './unread-bodies.ts';

const counted = () => {
  const cut: string[] = [];
  const causes: string[] = [];
  const bodies = new UnreadBodies({ most: 8, mostOfSource: 4 }, (cause) => causes.push(cause));
  const expectBody = (source: string, name: string, places = 1, received = () => 0) =>
    bodies.expect(source, { bytes: places * bytesOfPlace, received, cutOff: () => cut.push(name) });
  return { bodies, cut, causes, expectBody };
};

describe('unread bodies', () => {
  it('of one source make room for its next by the one that has been coming the longest, where none comes', () => {
    const { cut, causes, expectBody } = counted();
    for (const name of ['1', '2', '3', '4', '5', '6']) expectBody('a', name);
    expect(cut).toEqual(['1', '2']);
    expect(causes).toEqual(['source_bodies', 'source_bodies']);
  });

  it('that are on their way are not cut off for those that never come', () => {
    const { cut, expectBody } = counted();
    expectBody('a', 'upload', 1, () => 10_000);
    for (const name of ['1', '2', '3', '4', '5', '6']) expectBody('a', name);
    expectBody('a', 'large', 3);
    expect(cut).toEqual(['1', '2', '3', '4', '5', '6']);
  });

  it('of the source that has the most make room for those of others', () => {
    const { cut, causes, expectBody } = counted();
    for (const name of ['a1', 'a2', 'a3', 'a4']) expectBody('a', name);
    for (const name of ['b1', 'b2', 'b3']) expectBody('b', name);
    for (const name of ['c1', 'd1']) expectBody(name.charAt(0), name);
    expect(cut).toEqual(['a1']);
    expect(causes).toEqual(['bodies']);
  });

  it('hold as many places as they may take memory', () => {
    const { bodies, cut, expectBody } = counted();
    expectBody('a', 'small');
    bodies.expect('a', { bytes: bytesOfPlace + 1, received: () => 0, cutOff: () => cut.push('two') });
    expect(bodies.places).toBe(3);
    expectBody('a', 'large', 3);
    expect(cut).toEqual(['small', 'two']);
    expect(bodies.places).toBe(3);
  });

  it('that are larger than the part of a source have it for themselves', () => {
    const { bodies, cut, expectBody } = counted();
    expectBody('a', 'small');
    expectBody('a', 'huge', 20);
    expect(cut).toEqual(['small']);
    expectBody('b', 'other');
    expect(cut).toEqual(['small', 'huge']);
    expect(bodies.places).toBe(1);
  });

  it('never hold more than there is, and give back what they held, in any order', () => {
    const step = fc.record({
      source: fc.constantFrom('a', 'b', 'c'),
      places: fc.integer({ min: 1, max: 4 }),
    });
    fc.assert(
      fc.property(fc.array(fc.tuple(step, fc.nat()), { maxLength: 50 }), (steps) => {
        const { bodies, expectBody } = counted();
        const over: (() => void)[] = [];
        for (const [{ source, places }, ended] of steps) {
          over.push(expectBody(source, 'x', places));
          expect(bodies.places).toBeLessThanOrEqual(8);
          if (ended % 3 === 0) over[ended % over.length]?.();
        }
        for (const end of over) end();
        expect(bodies.places).toBe(0);
      }),
    );
  });
});
