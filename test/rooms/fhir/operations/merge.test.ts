import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { observation, patient } from '../../storage/support.ts';
import { grant, testFhir, type Answer, type TestFhir } from '../support.ts';

let fhir: TestFhir;
beforeAll(async () => {
  fhir = await testFhir();
});
afterAll(() => fhir.close());

const all = [grant('*', 'cruds')];
const system = 'urn:example:mrn';
const identifier = (value: string) => [{ system, value }];
const parameters = (parameter: readonly unknown[]) => ({ resourceType: 'Parameters', parameter });
const reference = (side: string, id: string) => ({ name: `${side}-patient`, valueReference: { reference: `Patient/${id}` } });
const named = (side: string, value: string) => ({ name: `${side}-patient-identifier`, valueIdentifier: { system, value } });
const call = (operation: string, pair: string, more: readonly unknown[] = [], grants = all): Promise<Answer> =>
  fhir.call(grants, 'POST', `Patient/$${operation}`, parameters([reference('source', `${pair}-source`), reference('target', `${pair}-target`), ...more]));

/** A pair of patients, and of the source: an Observation, and another that names a version of it and a decimal. */
async function pair(name: string): Promise<void> {
  await fhir.on.put(patient({ identifier: identifier(`${name}-1`) }), `${name}-source`);
  await fhir.on.put(patient({ identifier: identifier(`${name}-2`) }), `${name}-target`);
  await fhir.on.put(observation(`${name}-source`, { performer: [{ reference: `${fhir.services.baseUrl}/Patient/${name}-source` }], focus: [{ reference: `Patient/${name}-source/_history/1` }] }), `${name}-lab`);
  await fhir.on.put(observation(`${name}-target`), `${name}-own`);
}
const current = async (type: string, id: string): Promise<Record<string, unknown>> => (await fhir.call(all, 'GET', `${type}/${id}`)).json;
const versionOf = async (type: string, id: string) => (await fhir.on.store.read(type, id))?.versionId;
const content = async (type: string, id: string) => ({ ...(await current(type, id)), meta: undefined });
const outcomeOf = ({ json }: Answer, name: string) => (json['parameter'] as { name: string; resource: Record<string, unknown> }[]).find((one) => one.name === name)?.resource;

describe('$merge', () => {
  test('moves what refers to the source, links both, copies identifiers, and says so', async () => {
    await pair('plain');
    const answer = await call('merge', 'plain');
    expect([answer.status, answer.error?.message]).toEqual([200, undefined]);
    expect(outcomeOf(answer, 'outcome')).toMatchObject({ issue: [{ severity: 'information', diagnostics: 'Observation: 1' }] });
    expect(outcomeOf(answer, 'result')).toMatchObject({ id: 'plain-target', link: [{ other: { reference: 'Patient/plain-source' }, type: 'replaces' }], identifier: [{ system, value: 'plain-2' }, { system, value: 'plain-1', use: 'old' }] });
    expect(outcomeOf(answer, 'input')).toEqual(parameters([reference('source', 'plain-source'), reference('target', 'plain-target')]));
    expect(await current('Patient', 'plain-source')).toMatchObject({ active: false, link: [{ other: { reference: 'Patient/plain-target' }, type: 'replaced-by' }] });
    expect(await current('Observation', 'plain-lab')).toMatchObject({ subject: { reference: 'Patient/plain-target' }, performer: [{ reference: 'Patient/plain-target' }], focus: [{ reference: 'Patient/plain-source/_history/1' }] });
    expect(await versionOf('Observation', 'plain-own')).toBe(1);
    const { json } = await fhir.call(all, 'GET', 'Provenance?target=Patient/plain-source');
    expect(json['entry']).toMatchObject([{ resource: { activity: { coding: [{ code: 'merge' }] }, target: [{ reference: 'Patient/plain-target/_history/2' }, { reference: 'Patient/plain-source/_history/2' }, { reference: 'Observation/plain-lab/_history/2' }] } }]);
  });

  test('numbers keep their digits', async () => {
    await pair('exact');
    const body = Buffer.from(JSON.stringify({ ...observation('exact-source'), id: 'exact-sum' }).replace('13.2', '13.200'));
    await fhir.on.store.write(fhir.on.store.prepare(JSON.parse(body.toString()) as never, 'exact-sum', body), fhir.on.auditOf);
    expect((await call('merge', 'exact')).status).toBe(200);
    const after = (await fhir.on.store.read('Observation', 'exact-sum'))!;
    expect([after.versionId, after.bytes.includes('13.200'), after.bytes.includes('Patient/exact-target')]).toEqual([2, true, true]);
  });

  test('takes identifiers, and a result that keeps what was named', async () => {
    await pair('named');
    const result = (changes: Record<string, unknown> = {}) => ({ name: 'result-patient', resource: patient({ id: 'named-target', gender: 'other', identifier: [...identifier('named-1'), ...identifier('named-2')], link: [{ other: { reference: 'Patient/named-source' }, type: 'replaces' }], ...changes }) });
    const by = (...more: unknown[]) => fhir.call(all, 'POST', 'Patient/$merge', parameters([named('source', 'NAMED-1'), named('target', 'named-2'), ...more]));
    for (const wrong of [{ id: 'named-source' }, { identifier: identifier('named-1') }, { link: [] , contact: [] }, { link: undefined }, { active: false }]) expect([400, 422]).toContain((await by(result(wrong))).status);
    expect((await fhir.call(all, 'POST', 'Patient/$merge', parameters([named('source', 'named-9'), named('target', 'named-2')]))).error?.code).toBe('reference-missing');
    expect((await fhir.call(all, 'POST', 'Patient/$merge', parameters([reference('source', 'named-source'), named('source', 'named-2'), named('target', 'named-2')]))).error?.code).toBe('reference-missing');
    expect(await versionOf('Patient', 'named-target')).toBe(1);
    expect(outcomeOf(await by(result()), 'result')).toMatchObject({ gender: 'other' });
    expect(await current('Patient', 'named-target')).toMatchObject({ gender: 'other' });
  });

  test('only shows what it would do, if asked to', async () => {
    await pair('shown');
    const answer = await call('merge', 'shown', [{ name: 'preview', valueBoolean: true }]);
    expect(outcomeOf(answer, 'outcome')).toMatchObject({ issue: [{ diagnostics: 'Observation: 1' }] });
    expect(outcomeOf(answer, 'result')).toMatchObject({ identifier: [{}, { use: 'old' }] });
    expect([await versionOf('Patient', 'shown-source'), await versionOf('Patient', 'shown-target'), await versionOf('Observation', 'shown-lab')]).toEqual([1, 1, 1]);
  });

  test('is refused where it makes no sense', async () => {
    await pair('odd');
    const codeOf = async (source: string, target: string) => (await fhir.call(all, 'POST', 'Patient/$merge', parameters([reference('source', source), reference('target', target)]))).error?.code;
    expect(await codeOf('odd-source', 'odd-source')).toBe('business-rule');
    expect(await codeOf('odd-source', 'nobody')).toBe('reference-missing');
    expect((await fhir.call(all, 'POST', 'Patient/$merge', parameters([reference('source', 'odd-source')]))).error?.code).toBe('request-invalid');
    expect((await fhir.call(all, 'POST', 'Patient/$merge', parameters([{ name: 'source-patient', valueReference: { reference: 'Group/x' } }, reference('target', 'odd-target')]))).error?.code).toBe('request-invalid');
    await fhir.on.put(patient({ active: false }), 'odd-inactive');
    expect(await codeOf('odd-source', 'odd-inactive')).toBe('business-rule');
    expect((await call('merge', 'odd')).status).toBe(200);
    expect(await codeOf('odd-source', 'odd-target')).toBe('business-rule');
    expect(await codeOf('odd-target', 'odd-source')).toBe('business-rule');
    expect((await fhir.call(all, 'GET', 'Patient/$merge')).status).toBe(405);
  });

  test('needs to change everything that it changes, else changes nothing and tells nothing', async () => {
    await pair('held');
    const refused = [
      [grant('Patient', 'ruds'), grant('Provenance', 'c')],
      [grant('*', 'rs'), grant('Patient', 'ruds'), grant('Provenance', 'c')],
      [grant('*', 'rus')],
      [grant('*', 'cruds', 'held-source'), grant('Patient', 'r')],
      [grant('*', 'cs'), grant('Patient', 'ru')],
    ];
    for (const grants of refused) {
      const { error } = await call('merge', 'held', [], grants);
      expect([error?.code, error?.options.detail]).toEqual(['forbidden', undefined]);
    }
    expect((await call('merge', 'held', [], [grant('*', 'cruds', 'held-source')])).error?.code).toBe('reference-missing');
    expect([await versionOf('Patient', 'held-source'), await versionOf('Patient', 'held-target'), await versionOf('Observation', 'held-lab')]).toEqual([1, 1, 1]);
    const both = [grant('*', 'cruds', 'held-source'), grant('*', 'cruds', 'held-target')];
    expect((await call('merge', 'held', [], both)).status).toBe(200);
  });

  test('is refused before anything is written if too much would move', async () => {
    await pair('many');
    const { store, auditOf } = fhir.on;
    for (let from = 0; from < 3_100; from += 500) {
      const batch = Array.from({ length: 500 }, (_, index) => store.prepare({ resourceType: 'Basic', code: { text: 'x' }, subject: { reference: 'Patient/many-source' } }, `many-${from + index}`));
      await store.transaction(async (tx) => tx.createMany(batch, auditOf));
    }
    expect((await call('merge', 'many')).error?.code).toBe('too-costly');
    expect([await versionOf('Patient', 'many-source'), await versionOf('Patient', 'many-target'), await versionOf('Basic', 'many-1')]).toEqual([1, 1, 1]);
  });
});

describe('$unmerge', () => {
  test('makes everything what it was, and can be followed by another merge', async () => {
    await pair('back');
    const of = async () => Promise.all([content('Patient', 'back-source'), content('Patient', 'back-target'), content('Observation', 'back-lab'), content('Observation', 'back-own')]);
    const before = await of();
    for (let time = 0; time < 2; time += 1) {
      expect((await call('merge', 'back')).status).toBe(200);
      const answer = await call('unmerge', 'back');
      expect(outcomeOf(answer, 'outcome')).toMatchObject({ issue: [{ diagnostics: 'Observation: 1' }] });
      expect(await of()).toEqual(before);
    }
    expect((await call('unmerge', 'back')).error?.code).toBe('business-rule');
  });

  test('undoes a merge of many, which has several Provenances', async () => {
    await pair('large');
    const { store, auditOf } = fhir.on;
    await store.transaction(async (tx) => tx.createMany(Array.from({ length: 600 }, (_, index) => store.prepare({ resourceType: 'Basic', code: { text: 'x' }, subject: { reference: 'Patient/large-source' } }, `large-${index}`)), auditOf));
    expect((await call('merge', 'large')).status).toBe(200);
    expect((await current('Basic', 'large-599'))['subject']).toEqual({ reference: 'Patient/large-target' });
    expect((await fhir.call(all, 'GET', 'Provenance?target=Patient/large-source')).json['entry']).toHaveLength(2);
    expect((await call('unmerge', 'large')).status).toBe(200);
    for (const id of ['large-0', 'large-599']) expect((await current('Basic', id))['subject']).toEqual({ reference: 'Patient/large-source' });
  });

  test('is refused if something was changed or deleted since, and names types', async () => {
    await pair('since');
    await call('merge', 'since');
    await fhir.on.put(observation('since-target', { status: 'amended' }), 'since-lab');
    const { error, status } = await call('unmerge', 'since');
    expect([status, error?.code, error?.options.detail]).toEqual([409, 'merge-changed', 'Changed since: Observation.']);
    await fhir.on.remove('Observation', 'since-lab');
    expect((await call('unmerge', 'since')).error?.code).toBe('merge-changed');
    expect(await current('Patient', 'since-source')).toMatchObject({ active: false });
  });

  test('needs to change everything that it changes', async () => {
    await pair('kept');
    await call('merge', 'kept');
    for (const grants of [[grant('*', 'rs'), grant('Patient', 'rus'), grant('Provenance', 'crs')], [grant('*', 'ru'), grant('Provenance', 'c')], [grant('*', 'rus')]]) expect((await call('unmerge', 'kept', [], grants)).error?.code).toBe('forbidden');
    expect(await versionOf('Observation', 'kept-lab')).toBe(2);
  });
});
