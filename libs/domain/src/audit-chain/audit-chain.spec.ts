import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { canonicalJson } from './canonical-json.ts';
import { chainHash, genesisHash } from './chain.ts';
import { verifyChain, type FoundRow } from './verify.ts';

function log(length: number): FoundRow[] {
  const rows: FoundRow[] = [];
  let previous: Uint8Array = genesisHash;
  for (let seq = 1; seq <= length; seq++) {
    const time = new Date(1_700_000_000_000 + seq);
    const event = { id: `e${seq}`, time: time.toISOString(), data: { reason: `r${seq}` } };
    const row = { seq, recordedAt: time, event };
    previous = chainHash(previous, row);
    rows.push({ ...row, id: event.id, time, hash: previous });
  }
  return rows;
}

async function* iterate(rows: FoundRow[]): AsyncGenerator<FoundRow> {
  yield* rows;
}

const at = (rows: FoundRow[], seq: number): FoundRow => {
  const row = rows.find((candidate) => candidate.seq === seq);
  if (row === undefined) throw new Error(`no row ${seq}`);
  return row;
};
const checkpoint = (rows: FoundRow[], seq: number) => ({
  seq,
  hash: Buffer.from(at(rows, seq).hash).toString('hex'),
  source: 'the file',
});

describe('canonical JSON', () => {
  it('is the same for any order of keys', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const reversed = JSON.parse(JSON.stringify(value), (_key, child: unknown) =>
          typeof child === 'object' && child !== null && !Array.isArray(child)
            ? Object.fromEntries(Object.entries(child).reverse())
            : child,
        ) as unknown;
        expect(canonicalJson(reversed)).toBe(canonicalJson(value));
      }),
    );
  });

  it('is JSON of the same value', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  it('tells different values apart', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (a, b) => {
        fc.pre(JSON.stringify(a) !== JSON.stringify(b));
        const same = canonicalJson(a) === canonicalJson(b);
        expect(same).toBe(
          JSON.stringify(JSON.parse(canonicalJson(a))) === JSON.stringify(JSON.parse(canonicalJson(b))),
        );
      }),
    );
  });
});

describe('the verification of a log', () => {
  it.each([{ id: 'e6' }, { time: new Date(0) }])(
    'finds a column that contradicts its event: %j',
    async (change) => {
      const rows = log(20).map((row) => (row.seq === 5 ? { ...row, ...change } : row));
      expect(await verifyChain(iterate(rows), [], 20)).toMatchObject({
        outcome: 'broken',
        seq: 5,
        problem: 'changed',
      });
    },
  );

  it('finds what was cut off since the last checkpoint, by what the log says of its own end', async () => {
    const rows = log(20);
    expect(await verifyChain(iterate(rows.slice(0, 18)), [checkpoint(rows, 10)], 20)).toMatchObject({
      outcome: 'broken',
      seq: 19,
      problem: 'truncated',
    });
  });

  it('finds an untouched one intact, with its checkpoints', async () => {
    const rows = log(20);
    expect(await verifyChain(iterate(rows), [checkpoint(rows, 7), checkpoint(rows, 20)], 20)).toMatchObject({
      outcome: 'intact',
      rows: 20,
      checkpoints: 2,
    });
  });

  it('finds an empty one intact', async () => {
    expect(await verifyChain(iterate([]), [], 0)).toMatchObject({ outcome: 'intact', rows: 0 });
  });

  it.each<[string, (rows: FoundRow[]) => FoundRow[], { seq: number; problem: string }]>([
    [
      'a changed event',
      (rows) =>
        rows.map((row) =>
          row.seq === 5 ? { ...row, event: { ...(row.event as object), data: { reason: 'nothing' } } } : row,
        ),
      { seq: 5, problem: 'changed' },
    ],
    [
      'a changed time',
      (rows) => rows.map((row) => (row.seq === 5 ? { ...row, recordedAt: new Date(0) } : row)),
      { seq: 5, problem: 'changed' },
    ],
    ['a removed row', (rows) => rows.filter(({ seq }) => seq !== 5), { seq: 5, problem: 'missing' }],
    ['a removed first row', (rows) => rows.slice(1), { seq: 1, problem: 'missing' }],
    [
      'two rows that changed places',
      (rows) =>
        rows.map((row) =>
          row.seq === 5 ? { ...at(rows, 6), seq: 5 } : row.seq === 6 ? { ...at(rows, 5), seq: 6 } : row,
        ),
      { seq: 5, problem: 'changed' },
    ],
    [
      'a row that is there twice',
      (rows) => [...rows.slice(0, 5), at(rows, 5), ...rows.slice(5)],
      { seq: 5, problem: 'repeated' },
    ],
    [
      'a removed row with the rest renumbered',
      (rows) => rows.filter(({ seq }) => seq !== 5).map((row, index) => ({ ...row, seq: index + 1 })),
      { seq: 5, problem: 'changed' },
    ],
    ['a cut-off tail', (rows) => rows.slice(0, 15), { seq: 16, problem: 'truncated' }],
    ['everything gone', () => [], { seq: 1, problem: 'truncated' }],
  ])('finds %s and says where', async (_what, tamper, expected) => {
    const rows = log(20);
    expect(await verifyChain(iterate(tamper(rows)), [checkpoint(rows, 20)], 20)).toMatchObject({
      outcome: 'broken',
      ...expected,
    });
  });

  it('finds a tail that was rewritten with fitting hashes, by the next checkpoint', async () => {
    const rows = log(20);
    const rewritten: FoundRow[] = rows.slice(0, 9);
    let previous: Uint8Array = at(rows, 9).hash;
    for (let seq = 10; seq <= 20; seq++) {
      const time = new Date();
      const event = { id: `e${seq}`, time: time.toISOString(), data: { reason: 'rewritten' } };
      const row = { seq, recordedAt: time, event };
      previous = chainHash(previous, row);
      rewritten.push({ ...row, id: event.id, time, hash: previous });
    }
    expect(
      await verifyChain(iterate(rewritten), [checkpoint(rows, 8), checkpoint(rows, 12)], 20),
    ).toMatchObject({
      outcome: 'broken',
      seq: 12,
      problem: 'rewritten',
    });
  });
});
