import { describe, expect, test } from '@jest/globals';
import { mergePlanned } from '../../../../mappings/engine/merge.ts';
import type { PlannedJson } from '../../../../mappings/engine/plan.ts';

const patient = (more: Record<string, unknown>): PlannedJson => ({ resourceType: 'Patient', ...more });
const encounter = (more: Record<string, unknown>): PlannedJson => ({ resourceType: 'Encounter', ...more });
const place = (id: string, status: string, period?: unknown): Record<string, unknown> => ({ location: { reference: `Location/${id}` }, status, ...(period === undefined ? {} : { period }) });
const meet = (stored: PlannedJson, resource: PlannedJson, clear: string[] = [], fill: string[] = []): PlannedJson => mergePlanned(stored, { resource, clear, fill });

describe('what is stored after a merge', () => {
  test('carried elements replace, others stay, id and meta too', () => {
    expect(meet(patient({ id: '1', meta: { versionId: '3' }, gender: 'male', birthDate: '1970' }), patient({ gender: 'female' }))).toEqual(patient({ id: '1', meta: { versionId: '3' }, gender: 'female', birthDate: '1970' }));
  });

  test('identifiers add up; the same one is renewed', () => {
    expect(meet(patient({ identifier: [{ system: 'a', value: '1' }, { system: 'b', value: '2' }] }), patient({ identifier: [{ system: 'a', value: '1', use: 'old' }, { system: 'c', value: '3' }] })).identifier)
      .toEqual([{ system: 'a', value: '1', use: 'old' }, { system: 'b', value: '2' }, { system: 'c', value: '3' }]);
  });

  test('a home phone says nothing about the work phone, a race nothing about ethnicity', () => {
    const stored = patient({ telecom: [{ use: 'home', value: '1' }, { use: 'work', value: '2' }], extension: [{ url: 'race', valueString: 'x' }, { url: 'ethnicity', valueString: 'y' }] });
    expect(meet(stored, patient({ telecom: [{ use: 'home', value: '9' }], extension: [{ url: 'race', valueString: 'z' }] }))).toMatchObject({
      telecom: [{ use: 'work', value: '2' }, { use: 'home', value: '9' }],
      extension: [{ url: 'ethnicity', valueString: 'y' }, { url: 'race', valueString: 'z' }],
    });
  });

  test('deletions reach whole elements, members and entries', () => {
    const stored = encounter({ priority: {}, period: { start: 'a', end: 'b' }, participant: [{ type: [{ coding: [{ code: 'ATND' }] }] }, { type: [{ coding: [{ code: 'REF' }] }] }] });
    expect(meet(stored, encounter({}), ['priority', 'period.end', 'participant[type=REF]'])).toEqual(encounter({ period: { start: 'a' }, participant: [{ type: [{ coding: [{ code: 'ATND' }] }] }] }));
    expect(meet(patient({ telecom: [{ use: 'work', value: '1' }] }), patient({}), ['telecom[use=work]'])).toEqual(patient({}));
  });

  test('a period keeps the member that is not carried', () => expect(meet(encounter({ period: { start: 'a' } }), encounter({ period: { end: 'b' } })).period).toEqual({ start: 'a', end: 'b' }));

  test('defaults fill gaps only', () => {
    expect(meet(encounter({ status: 'finished' }), encounter({ status: 'in-progress', class: { code: 'UNK' } }), [], ['status', 'class'])).toEqual(encounter({ status: 'finished', class: { code: 'UNK' } }));
    const request = (more: Record<string, unknown>): PlannedJson => ({ resourceType: 'MedicationRequest', ...more });
    expect(meet(request({ medicationReference: { reference: '#m' } }), request({ medicationCodeableConcept: { text: 'not stated' } }), [], ['medicationCodeableConcept'])).toEqual(request({ medicationReference: { reference: '#m' } }));
  });

  test('of a choice only one form stays', () => expect(meet(patient({ deceasedBoolean: true }), patient({ deceasedDateTime: '2024' }))).toEqual(patient({ deceasedDateTime: '2024' })));

  test('a transfer ends the stay elsewhere and keeps the history', () => {
    const stored = encounter({ location: [place('a', 'completed', { start: '1', end: '2' }), place('b', 'active', { start: '2' })] });
    expect(meet(stored, encounter({ location: [place('b', 'completed', { end: '3' }), place('c', 'active', { start: '3' })] })).location)
      .toEqual([place('a', 'completed', { start: '1', end: '2' }), place('b', 'completed', { start: '2', end: '3' }), place('c', 'active', { start: '3' })]);
    expect(meet(stored, encounter({ location: [place('d', 'active', { start: '4' })] })).location)
      .toEqual([place('a', 'completed', { start: '1', end: '2' }), place('b', 'completed', { start: '2', end: '4' }), place('d', 'active', { start: '4' })]);
  });

  test('coming back is a new stay', () => {
    expect(meet(encounter({ location: [place('a', 'completed', { start: '1', end: '2' })] }), encounter({ location: [place('a', 'active', { start: '3' })] })).location)
      .toEqual([place('a', 'completed', { start: '1', end: '2' }), place('a', 'active', { start: '3' })]);
  });

  test('nothing given is changed', () => {
    const stored = patient({ telecom: [{ use: 'home', value: '1' }] });
    const before = structuredClone(stored);
    meet(stored, patient({ telecom: [{ use: 'home', value: '2' }] }), ['telecom']);
    expect(stored).toEqual(before);
  });
});
