import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { canonicalJson } from './canonical-json.ts';
import { chainHash, genesisHash } from './chain.ts';
import { ChainWalk, type FoundRow } from './chain-walk.ts';
import type { Finding } from './finding.ts';
import { microsecondsOf } from './instants.ts';
import { hasWrittenNumbers } from './stored-text.ts';

const asPostgres = (time: Date) => time.toISOString().replace('T', ' ').replace('Z', '+00');

function log(length: number): FoundRow[] {
  const rows: FoundRow[] = [];
  let previous: Uint8Array = genesisHash;
  for (let seq = 1; seq <= length; seq++) {
    const time = new Date(1_700_000_000_000 + seq);
    const id = `00000000-0000-7000-8000-${String(seq).padStart(12, '0')}`;
    const data = { reason: `r${seq}`, organization: 'acme', agent_id: `a${seq}`, ttl_seconds: 300 };
    const event = { id, time: time.toISOString(), type: 'dev.mayfly.session.opened.v1', data };
    previous = chainHash(previous, { seq, recordedAt: time, event });
    rows.push({
      seq,
      id,
      time: asPostgres(time),
      recordedAt: asPostgres(time),
      event: JSON.stringify(event),
      hash: Buffer.from(previous).toString('hex'),
      derived: {
        type: 'session.opened',
        organization: 'acme',
        lease_id: null,
        session_id: null,
        agent_id: `a${seq}`,
        trace_id: null,
      },
    });
  }
  return rows;
}

const walked = (rows: readonly FoundRow[], from?: { seq: number; hash: string }): Finding[] => {
  const walk = new ChainWalk(from);
  return rows.flatMap((row) => walk.take(row));
};
const at = (rows: FoundRow[], seq: number): FoundRow => {
  const row = rows.find((candidate) => candidate.seq === seq);
  if (row === undefined) throw new Error(`no row ${seq}`);
  return row;
};
/** The log of 20 rows with the fifth changed. */
const withFifth = (change: (row: FoundRow) => Partial<FoundRow>) =>
  log(20).map((row) => (row.seq === 5 ? { ...row, ...change(row) } : row));

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

describe('the walk along the chain', () => {
  it('finds nothing in a log that nobody has touched, from the start and from any place', () => {
    const rows = log(20);
    expect(walked(rows)).toEqual([]);
    expect(walked(rows.slice(7), { seq: 7, hash: at(rows, 7).hash ?? '' })).toEqual([]);
  });

  it.each<[string, Partial<FoundRow>, string]>([
    ['id', { id: '00000000-0000-7000-8000-0000000000ff' }, 'id'],
    ['id that is not there', { id: null }, 'id'],
    ['time', { time: '1970-01-01 00:00:00+00' }, 'time'],
    ['time for ever', { time: 'infinity' }, 'time'],
    [
      'time by a microsecond',
      { time: asPostgres(new Date(1_700_000_000_005)).replace('+00', '001+00') },
      'time',
    ],
    ['time of writing', { recordedAt: '1970-01-01 00:00:00+00' }, 'hash'],
    ['time of writing by a microsecond', { recordedAt: '2023-11-14 22:13:20.005001+00' }, 'recorded_at'],
    ['hash', { hash: '0'.repeat(64) }, 'hash'],
    ['computed column', { derived: { ...at(log(5), 5).derived, agent_id: 'somebody' } }, 'agent_id'],
    [
      'computed column, emptied',
      { derived: { ...at(log(5), 5).derived, organization: null } },
      'organization',
    ],
    ['event that is no JSON', { event: '{' }, 'event'],
  ])('names the row and the column of a changed %s', (_what, change, column) => {
    const [first] = walked(withFifth(() => change));
    expect(first).toMatchObject({ problem: 'changed', seq: 5 });
    expect(first?.differences?.map(({ property }) => property)).toContain(column);
  });

  it('finds digits in numbers of an event that its hash does not see', () => {
    const rows = withFifth(({ event }) => ({ event: (event ?? '').replace('300', '300.0') }));
    expect(walked(rows)).toMatchObject([
      { problem: 'changed', seq: 5, differences: [{ property: 'event' }] },
    ]);
  });

  it.each<[string, (rows: FoundRow[]) => FoundRow[], { seq: number; problem: string }]>([
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
  ])('finds %s and says where', (_what, tamper, expected) => {
    expect(walked(tamper(log(20)))[0]).toMatchObject(expected);
  });

  it('goes on after a bad row, and names no good one', () => {
    const rows = log(20).map((row) => ([5, 9].includes(row.seq) ? { ...row, id: null } : row));
    expect(walked(rows.filter(({ seq }) => seq !== 12)).map(({ seq }) => seq)).toEqual([5, 9, 12]);
  });
});

describe('numbers in a stored event', () => {
  it('are as they were written, whatever JSON was', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.string(), (number, text) => {
        // What numeric makes of the digits that ECMAScript writes.
        const stored = Number(JSON.stringify(number)) === 0 ? '0' : expanded(JSON.stringify(number));
        expect(hasWrittenNumbers(`{"n": ${stored}, "t": ${JSON.stringify(text)}}`)).toBe(true);
      }),
    );
  });

  it.each(['1.0', '5.00000000000000000001', '9007199254740993', '1'.padEnd(401, '0'), '-0', '0.10'])(
    'are not when they are %s',
    (number) => {
      expect(hasWrittenNumbers(`{"a": "1.0", "n": ${number}}`)).toBe(false);
    },
  );
});

describe('instants', () => {
  it.each([
    ['2030-01-31T12:00:00Z', '2030-01-31 12:00:00+00'],
    ['2030-01-31T12:00:00.123456Z', '2030-01-31 12:00:00.123456+00'],
    ['2030-01-31T12:00Z', '2030-01-31 12:00:00+00'],
    ['2030-01-31T12:00:00.1234567Z', '2030-01-31 12:00:00.123457+00'],
  ])('%s of an event is what Postgres prints as %s', (event, postgres) => {
    expect(microsecondsOf(event)).toBe(microsecondsOf(postgres));
    expect(microsecondsOf(event)).toBeDefined();
  });
});

/** By way of big integers, so not by the code under test. */
function expanded(text: string): string {
  const match = /^(-?)(\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/.exec(text);
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = match ?? [];
  const scale = fraction.length - Number(exponent);
  const digits = BigInt(whole + fraction).toString();
  if (scale <= 0) return `${sign}${digits}${'0'.repeat(-scale)}`;
  const padded = digits.padStart(scale + 1, '0');
  return `${sign}${padded.slice(0, -scale)}.${padded.slice(-scale)}`;
}
