import { beforeAll, describe, expect, test } from '@jest/globals';
import { parseLine } from '../../server/audit/standalone/format.ts';
import { checkProof } from '../../server/audit/standalone/proof.ts';
import { seeded } from './random.ts';
import { flipEveryByte, forgeProofs, soundTrail, tamper, verifyLines, type SoundTrail } from './tampering.ts';

let sound: SoundTrail;
beforeAll(async () => {
  sound = await soundTrail(13);
});

describe('the separate verifier', () => {
  test('finds nothing wrong with what is sound', () => {
    const report = verifyLines(sound, sound.lines.map(parseLine), [sound.newest]);
    expect(report).toMatchObject({ ok: true, faults: [], last: { n: sound.newest.n }, unanchored: { blocks: 2, entries: 2 } });
    expect(report.entries).toBeGreaterThan(100);
    for (const proof of sound.proofs) expect(checkProof(JSON.parse(JSON.stringify(proof)), sound.keys)).toMatchObject({ ok: true });
  });

  test('detects and locates 600 tampering cases', () => {
    const { kinds, undetected, misplaced } = tamper(sound, 600, seeded(6));
    expect(undetected).toEqual([]);
    expect(misplaced).toEqual([]);
    expect(Object.keys(kinds).length).toBeGreaterThan(25);
  }, 60_000);

  test('notices every byte of a small segment', () => {
    const { bytes, unnoticed } = flipEveryByte(sound, 6_000, seeded(6));
    expect(bytes).toBe(6_000);
    expect(unnoticed).toEqual([]);
  }, 60_000);

  test('accepts none of 1,000 forged proofs', () => {
    expect(forgeProofs(sound, 1_000, seeded(6)).accepted).toEqual([]);
  }, 60_000);
});
