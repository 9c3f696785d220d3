/** The chain of audit events: its hash, and every change that it shows. */
import {
  type AuditRecord,
  CHAIN_BEGINNING,
  type ChainFault,
  type ChainPlace,
  createChainCheck,
  hashEvent,
} from '@latchkey/authority';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { chainOf, tokenEvent } from '../../helpers/audit-events.ts';

function faultIn(
  records: readonly AuditRecord[],
  {
    lastSequence = records.length,
    checkpoint = CHAIN_BEGINNING,
    expected = [],
  }: {
    lastSequence?: number;
    checkpoint?: ChainPlace;
    expected?: readonly ChainPlace[];
  } = {},
): ChainFault | undefined {
  const check = createChainCheck({ checkpoint, lastSequence }, expected);
  for (const record of records) {
    const fault = check.add(record);
    if (fault !== undefined) return fault;
  }
  return check.finish();
}

describe('the hash', () => {
  // Both values were computed by another program, from the description in event-hash.ts.
  test.each([
    {
      name: 'of an event with all fields',
      record: {
        ...tokenEvent({
          jti: '0rQ8xF5tJt2v1uRzM3b4Yw',
          kid: 'uQC_hbFwnspsYSa6aEbdTwqSEt0S9APezJVlgIT62ZU',
          detail: 'pub:devices/t-42/ü',
        }),
        sequence: 1,
        at: 1_760_000_000,
        previousHash: CHAIN_BEGINNING.hash,
      },
      hash: 'rc-2iAZY6gHfwb00EoiEhMrcMup3DFoJLmK8PIXz5xs',
    },
    {
      name: 'of an event with absent fields',
      record: {
        type: 'authority' as const,
        actor: undefined,
        action: 'start',
        target: undefined,
        outcome: 'ok' as const,
        address: undefined,
        sequence: 1,
        at: 1_760_000_000,
        previousHash: CHAIN_BEGINNING.hash,
      },
      hash: 'LAlJR_uNraGcOm7NX1GdYe7jbuyZFbZ44FEgnQeLtj4',
    },
  ])('$name', ({ record, hash }) => {
    expect(hashEvent(record)).toBe(hash);
  });

  test('differs when text moves from one field to the next', () => {
    const at = { sequence: 1, at: 1, previousHash: CHAIN_BEGINNING.hash };
    const one = hashEvent({ ...tokenEvent({ jti: 'ab', kid: 'c' }), ...at });
    expect(hashEvent({ ...tokenEvent({ jti: 'a', kid: 'bc' }), ...at })).not.toBe(one);
    expect(hashEvent({ ...tokenEvent({ jti: 'abc', kid: undefined }), ...at })).not.toBe(one);
  });
});

const text = fc.option(fc.string({ unit: 'grapheme', maxLength: 12 }), { nil: undefined });
const events = fc.array(
  fc
    .record({ actor: text, target: text, clientId: text, jti: text, kid: text, detail: text })
    .map((fields) => tokenEvent(fields)),
  { minLength: 1, maxLength: 12 },
);
/** A chain and one of its places. */
const chained = events.chain((list) =>
  fc.record({ chain: fc.constant(chainOf(list)), at: fc.nat({ max: list.length - 1 }) }),
);

describe('a chain', () => {
  test('that nobody touched is whole', () => {
    fc.assert(fc.property(chained, ({ chain }) => faultIn(chain) === undefined));
  });

  test('of no events is whole', () => {
    expect(faultIn([])).toBeUndefined();
  });

  test('with a changed event is broken there', () => {
    const change = fc.oneof(
      ...(['actor', 'target', 'clientId', 'jti', 'kid', 'detail', 'address'] as const).map((name) =>
        fc.string({ minLength: 1 }).map((value) => ({ [name]: `${value}x` })),
      ),
      fc.constant({ outcome: 'refused' as const }),
      fc.constant({ type: 'management' as const }),
      fc.constant({ action: 'revoke' }),
      fc.integer({ min: 1 }).map((by) => ({ at: 1_760_000_100 + by })),
    );
    fc.assert(
      fc.property(chained, change, ({ chain, at }, changed) => {
        const bad = chain.map((record, i) => (i === at ? { ...record, ...changed } : record));
        fc.pre(JSON.stringify(bad) !== JSON.stringify(chain));
        expect(faultIn(bad)).toEqual({ sequence: at + 1, problem: 'was changed' });
      }),
    );
  });

  test('with an event changed and hashed again is broken at the next one, or where it was noted', () => {
    fc.assert(
      fc.property(chained, ({ chain, at }) => {
        const forged = { ...(chain[at] as AuditRecord), detail: 'forged' };
        const bad = chain.map((record, i) =>
          i === at ? { ...forged, hash: hashEvent(forged) } : record,
        );
        const noted = chain.map(({ sequence, hash }) => ({ sequence, hash }));
        expect(faultIn(bad, { expected: noted })?.sequence).toBe(at + 1);
        if (at + 1 < chain.length) expect(faultIn(bad)?.sequence).toBe(at + 2);
      }),
    );
  });

  test('with an event removed, at the ends too, is broken', () => {
    fc.assert(
      fc.property(chained, ({ chain, at }) => {
        const bad = chain.filter((_, i) => i !== at);
        expect(faultIn(bad, { lastSequence: chain.length })).toBeDefined();
      }),
    );
  });

  test('with the end cut off and the count lowered is broken where a later place was noted', () => {
    fc.assert(
      fc.property(chained, ({ chain, at }) => {
        const { sequence, hash } = chain.at(-1) as AuditRecord;
        const fault = faultIn(chain.slice(0, at), { expected: [{ sequence, hash }] });
        expect(fault).toEqual({ sequence, problem: 'was noted and is missing' });
      }),
    );
  });

  test('with an event inserted is broken', () => {
    fc.assert(
      fc.property(chained, fc.boolean(), ({ chain, at }, isRenumbered) => {
        const copy = { ...(chain[at] as AuditRecord), detail: 'inserted' };
        const inserted = { ...copy, hash: hashEvent(copy) };
        const renumber = (record: AuditRecord, i: number) => ({ ...record, sequence: i + 1 });
        const bad = [...chain.slice(0, at), inserted, ...chain.slice(at)];
        const all = isRenumbered ? bad.map(renumber) : bad;
        expect(faultIn(all, { lastSequence: all.length })).toBeDefined();
      }),
    );
  });

  test('with two events swapped is broken', () => {
    fc.assert(
      fc.property(chained, fc.nat(), fc.boolean(), ({ chain, at }, other, isRenumbered) => {
        const with_ = other % chain.length;
        fc.pre(with_ !== at);
        const bad = [...chain];
        [bad[at], bad[with_]] = [bad[with_] as AuditRecord, bad[at] as AuditRecord];
        const all = isRenumbered ? bad.map((record, i) => ({ ...record, sequence: i + 1 })) : bad;
        expect(faultIn(all)).toBeDefined();
      }),
    );
  });

  test('cut off at its beginning is broken unless an event says so', () => {
    fc.assert(
      fc.property(chained, ({ chain, at }) => {
        const { sequence, hash } = chain[at] as AuditRecord;
        const rest = chain.slice(at + 1);
        expect(
          faultIn(rest, { checkpoint: { sequence, hash }, lastSequence: chain.length }),
        ).toEqual({
          sequence,
          problem: 'no event says that everything up to it was cut off',
        });
        expect(faultIn(rest, { lastSequence: chain.length })).toBeDefined();
      }),
    );
  });
});
