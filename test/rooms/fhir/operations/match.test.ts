import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { grant, testFhir, type Answer, type TestFhir } from '../support.ts';

let fhir: TestFhir;
const all = [grant('*', 'cruds')];
const system = 'urn:example:mrn';
type Changes = Readonly<Record<string, unknown>>;
const person = (family: string, given: string, birthDate: string, more: Changes = {}) => ({ resourceType: 'Patient', name: [{ family, given: [given] }], birthDate, gender: 'female', ...more });
const home = { address: [{ line: ['12 Mill Lane'], city: 'Ashford', postalCode: 'AB1 2CD' }], telecom: [{ system: 'phone', value: '+44 1632 960 111' }] };

beforeAll(async () => {
  fhir = await testFhir();
  const stored: Record<string, unknown> = {
    ada: person('Lovgren', 'Adaline', '1970-02-14', { ...home, identifier: [{ system, value: 'M-1' }] }),
    namesake: person('Lovgren', 'Adaline', '1994-07-30'),
    twin: person('Kowalczyk', 'Berta', '1988-05-03', home),
    other: person('Kowalczyk', 'Dorothea', '1988-05-03', home),
    undated: { resourceType: 'Patient', name: [{ family: 'Quenneville', given: ['Xaviera'] }] },
    married: person('Oyelaran', 'Ngozi', '1981-11-09', { name: [{ use: 'official', family: 'Oyelaran', given: ['Ngozi'] }, { use: 'maiden', family: 'Adebayo', given: ['Ngozi'] }] }),
    merged: person('Ferreira', 'Ines', '1960-03-04', { active: false, link: [{ other: { reference: 'Patient/survivor' }, type: 'replaced-by' }] }),
    survivor: person('Ferreira', 'Ines', '1960-03-04'),
  };
  for (const [id, resource] of Object.entries(stored)) await fhir.on.put(resource as never, id);
});
afterAll(() => fhir.close());

interface Found { readonly id: string; readonly score: number; readonly grade: string }
const ask = (resource: unknown, more: readonly unknown[] = [], grants = all): Promise<Answer> => fhir.call(grants, 'POST', 'Patient/$match', { resourceType: 'Parameters', parameter: [{ name: 'resource', resource }, ...more] });
function foundIn({ json }: Answer): Found[] {
  const entries = (json['entry'] ?? []) as { resource: { id: string }; search: { mode: string; score: number; extension: { url: string; valueCode: string }[] } }[];
  return entries.filter(({ search }) => search.mode === 'match').map(({ resource: { id }, search: { score, extension } }) => ({ id, score, grade: extension[0]!.valueCode }));
}
const found = async (resource: unknown, more: readonly unknown[] = [], grants = all) => foundIn(await ask(resource, more, grants));

describe('$match', () => {
  test('finds the same person with certainty, and not a namesake of another age', async () => {
    const answer = await ask(person('Lovgren', 'Adaline', '1970-02-14'));
    expect([answer.status, answer.json['type']]).toEqual([200, 'searchset']);
    const [first, ...rest] = foundIn(answer);
    expect([first?.id, first?.grade, rest]).toEqual(['ada', 'certain', []]);
    expect(first!.score).toBeGreaterThan(0.99);
    expect(first!.score).toBeLessThanOrEqual(1);
  });

  test.each<[string, Changes]>([
    ['a typing error in the family name', person('Lovgern', 'Adaline', '1970-02-14')],
    ['a typing error in the given name', person('Lovgren', 'Adalyne', '1970-02-14')],
    ['other spelling', person('LÖVGREN', ' adaline', '1970-02-14')],
    ['swapped names', person('Adaline', 'Lovgren', '1970-02-14')],
    ['the year before', person('Lovgren', 'Adaline', '1969-02-14', home)],
    ['a digit of the date', person('Lovgren', 'Adaline', '1970-02-11', home)],
    ['the identifier alone', { resourceType: 'Patient', identifier: [{ system, value: 'm-1' }] }],
    ['no gender', { ...person('Lovgren', 'Adaline', '1970-02-14'), gender: undefined }],
  ])('finds the same person with %s', async (_what, asked) => {
    const [first] = await found(asked);
    expect(first?.id).toBe('ada');
    expect(['certain', 'probable']).toContain(first?.grade);
  });

  test('thinks of day and month in each other\'s place, of former names, and of what is missing', async () => {
    expect(await found(person('Kowalczyk', 'Berta', '1988-03-05', home))).toMatchObject([{ id: 'twin', grade: expect.stringMatching(/certain|probable/) }, { id: 'other' }]);
    expect((await found(person('Adebayo', 'Ngozi', '1981-11-09')))[0]).toMatchObject({ id: 'married', grade: 'certain' });
    expect(await found({ resourceType: 'Patient', name: [{ family: 'Quenneville', given: ['Xaviera'] }] })).toMatchObject([{ id: 'undated', grade: 'possible' }]);
  });

  test('tells twins apart', async () => {
    expect(await found(person('Kowalczyk', 'Berta', '1988-05-03', home))).toMatchObject([{ id: 'twin', grade: 'certain' }, { id: 'other', grade: 'possible' }]);
  });

  test('gives the survivor of a merge only', async () => {
    expect(await found(person('Ferreira', 'Ines', '1960-03-04'))).toMatchObject([{ id: 'survivor' }]);
  });

  test('gives the best, or the one that is certain', async () => {
    const twin = person('Kowalczyk', 'Berta', '1988-05-03', home);
    expect(await found(twin, [{ name: 'count', valueInteger: 1 }])).toMatchObject([{ id: 'twin' }]);
    expect(await found(twin, [{ name: 'onlyCertainMatches', valueBoolean: true }])).toMatchObject([{ id: 'twin' }]);
    expect(await found(person('Kowalczyk', 'Zofia', '1988-05-03', home), [{ name: 'onlyCertainMatches', valueBoolean: true }])).toEqual([]);
  });

  test('is within the access of the caller', async () => {
    const asked = person('Lovgren', 'Adaline', '1970-02-14');
    expect(await found(asked, [], [grant('Patient', 'rs', 'twin')])).toEqual([]);
    expect(await found(asked, [], [grant('Patient', 'rs', 'ada')])).toMatchObject([{ id: 'ada' }]);
    expect((await ask(asked, [], [grant('Observation', 'rs')])).status).toBe(403);
  });

  test('needs enough to go by, and is not overwhelmed', async () => {
    for (const little of [{}, { gender: 'male' }, { name: [{ family: 'Lovgren' }] }, { birthDate: '1970-02-14' }]) expect((await ask({ resourceType: 'Patient', ...little })).error?.code).toBe('business-rule');
    expect((await fhir.call(all, 'POST', 'Patient/$match', { resourceType: 'Parameters', parameter: [{ name: 'count', valueInteger: 3 }] })).status).toBe(400);
    expect((await ask({ resourceType: 'Group' })).status).toBe(400);
    expect((await ask({ resourceType: 'Patient', name: 'x' })).status).toBe(400);
    const long = 'ab,|$\\'.repeat(5_000);
    const name = Array.from({ length: 500 }, () => ({ family: long, given: Array.from({ length: 20 }, () => long.slice(0, 100)) }));
    const hostile = { resourceType: 'Patient', name, birthDate: '1970-02-14', identifier: Array.from({ length: 500 }, (_, index) => ({ system: 'urn:x|y,z', value: `${index}$|,` })), telecom: Array.from({ length: 500 }, () => ({ system: 'phone', value: '+\\,|$' })) };
    expect([200, 413]).toContain((await ask(hostile)).status);
  });
});
