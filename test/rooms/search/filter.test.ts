import { describe, expect, test } from '@jest/globals';
import { InterlockError } from '../../../resources/outcome/error.ts';
import { extractSearchValues, type Resource } from '../../../resources/search-values/index.ts';
import { isSettled, type AskedCriterion } from '../../../server/search/criteria.ts';
import { matches } from '../../../server/search/match.ts';
import { parseSearch } from '../../../server/search/parse.ts';

const nowMs = Date.parse('2026-01-01T00:00:00Z');
const parse = (type: string, filter: string): AskedCriterion => parseSearch(type, [['_filter', filter]], { strict: true, nowMs }).where;

function refusal(type: string, filter: string): string {
  try {
    parse(type, filter);
  } catch (error) {
    if (error instanceof InterlockError) return error.code;
    throw error;
  }
  return 'accepted';
}

function found(resource: Resource, filter: string): boolean {
  const where = parse(resource.resourceType, filter);
  if (!isSettled(where)) throw new Error('it depends on other resources');
  return matches({ type: resource.resourceType, id: resource.id!, lastUpdatedMs: Date.parse('2020-06-15T12:00:00Z'), values: extractSearchValues(resource), patients: [] }, where);
}

const patient: Resource = { resourceType: 'Patient', id: 'p', active: true, gender: 'female', birthDate: '1970-05-05', name: [{ family: 'Chalmers', given: ['Peter', 'James'] }], identifier: [{ system: 'urn:mrn', value: 'A1' }] };
const encounter: Resource = { resourceType: 'Encounter', id: 'e', status: 'finished', class: { code: 'AMB' }, period: { start: '2020-01-10', end: '2020-01-20' } };
const risk: Resource = { resourceType: 'RiskAssessment', id: 'r', status: 'final', subject: { reference: 'Patient/p' }, prediction: [{ probabilityDecimal: 0.25 }] };

describe('operators', () => {
  test.each([
    ['given eq "peter"', true], ['given eq pet', false], ['given ne "peter"', true], ['family ne chalmers', false], ['name co "ALM"', true], ['family sw chal', true], ['family sw alm', false],
    ['family ew mers', true], ['family ew merx', false], ['family gt brown', true], ['family gt Chalmers', false], ['family ge Chalmers', true], ['family lt dunn', true], ['family le chalmers', true], ['family lt chalmers', false],
    ['birthdate eq 1970-05-05', true], ['birthdate ge 1970-05', true], ['birthdate gt 1970-05-05', false], ['birthdate lt 1971', true], ['birthdate ne 1970', false], ['birthdate sa 1969', true], ['birthdate eb 1971-01-01', true], ['birthdate ap 1970', true],
    ['gender eq female', true], ['gender eq http://hl7.org/fhir/administrative-gender|female', true], ['gender ne male', true], ['gender ne female', false], ['active eq true', true], ['identifier eq urn:mrn|A1', true],
    ['gender pr true', true], ['deathdate pr true', false], ['death-date pr false', true], ['_id eq p', true], ['_id ne p', false], ['_lastUpdated ge 2020-06-15', true], ['_lastUpdated lt 2020', false],
  ])('%s: %s', (filter, expected) => {
    if (filter.startsWith('deathdate')) expect(refusal('Patient', filter)).toBe('search-invalid');
    else expect(found(patient, filter)).toBe(expected);
  });

  test.each([
    ['date co 2020-01-15', true], ['date co 2020-01', false], ['date po 2020-01-20', true], ['date po 2020-01', true], ['date po 2020-02', false], ['date eq 2020-01', true], ['date co 2020-01-21', false],
  ])('periods, %s: %s', (filter, expected) => {
    expect(found(encounter, filter)).toBe(expected);
  });

  test.each([['probability eq 0.25', true], ['probability gt 0.2', true], ['probability co 0.252', true], ['probability co 0.26', false], ['probability ap 0.26', true], ['subject re Patient/p', true], ['subject re Patient/q', false]])('numbers and references, %s: %s', (filter, expected) => {
    expect(found(risk, filter)).toBe(expected);
  });

  test('terminology', () => {
    expect(parse('Observation', 'code ss snomed|1')).toMatchObject({ op: 'subsumed', direction: 'below', of: [{ system: 'http://snomed.info/sct', code: '1' }] });
    expect(parse('Observation', 'code sb loinc|1-1')).toMatchObject({ op: 'subsumed', direction: 'above', of: [{ system: 'http://loinc.org' }] });
    expect(parse('Observation', 'code in http://vs.example/1')).toMatchObject({ op: 'valueSet', of: ['http://vs.example/1'] });
    expect(parse('Observation', 'code ni ValueSet/1')).toMatchObject({ op: 'not', of: { op: 'valueSet' } });
  });
});

describe('logic', () => {
  test.each([
    // The leftmost binds first: (true or true) and false.
    ['gender eq female or gender eq male and family eq x', false],
    ['gender eq female or (gender eq male and family eq x)', true],
    ['family eq x and gender eq male or gender eq female', true],
    ['not (gender eq male)', true], ['not(gender eq female)', false], ['not (gender eq male) and not (family eq x)', true], ['((given eq peter))', true],
    ['GIVEN eq peter', undefined], ['given EQ peter AND gender eq female', true],
  ])('%s: %s', (filter, expected) => {
    if (expected === undefined) expect(refusal('Patient', filter)).toBe('search-invalid');
    else expect(found(patient, filter)).toBe(expected);
  });

  test('chains, with filters on what they lead to', () => {
    expect(parse('Observation', 'patient.name co "pet"')).toMatchObject({ op: 'chain', of: [{ type: 'Patient', where: { op: 'param', modifier: 'contains' } }] });
    expect(parse('Observation', 'subject[gender eq male].organization.name eq x and code eq y')).toMatchObject({
      op: 'all', of: [{ op: 'chain', of: [{ type: 'Patient', where: { op: 'all', of: [{ op: 'param' }, { op: 'chain', of: [{ type: 'Organization' }] }] } }] }, { op: 'param' }],
    });
  });
});

describe('refusals', () => {
  test.each([
    '', ' ', 'given', 'given eq', 'given eq peter and', 'and given eq peter', '(given eq peter', 'given eq peter)', 'not given eq peter', 'given xx peter', 'given eq "peter', 'given eq peter james', 'nonsense eq a', 'given.x eq a',
    'gender co fem', 'birthdate eq notadate', 'given eq ""', 'gender pr maybe', 'given eq ()', 'name[given eq a].x eq b', '_id gt a', 'given:exact eq a', 'a..b eq c', '.given eq a', 'general-practitioner[name eq a] eq b',
  ])('%s', (filter) => {
    expect(refusal('Patient', filter)).toBe('search-invalid');
  });

  test('too deep or too long', () => {
    expect(refusal('Patient', `${'('.repeat(30)}given eq a${')'.repeat(30)}`)).toBe('too-costly');
    expect(refusal('Patient', Array.from({ length: 101 }, () => 'given eq a').join(' or '))).toBe('too-costly');
    expect(refusal('Observation', Array.from({ length: 60 }, () => 'focus.code eq a').join(' or '))).toBe('too-costly');
  });
});
