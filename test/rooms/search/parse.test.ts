import { describe, expect, test } from '@jest/globals';
import { searchParamsOf } from '../../../resources/definitions/index.ts';
import { InterlockError } from '../../../resources/outcome/error.ts';
import type { AskedCriterion } from '../../../server/search/criteria.ts';
import { parseSearch, searchBounds } from '../../../server/search/parse.ts';

const nowMs = Date.parse('2026-01-01T00:00:00Z');
const options = { strict: false, nowMs, baseUrl: 'https://here.example/fhir/R4' };
const pairs = (query: string): [string, string][] => [...new URLSearchParams(query)];
const parse = (type: string | undefined, query: string, more: object = {}) => parseSearch(type, pairs(query), { ...options, ...more });
const where = (type: string, query: string) => parse(type, query).where;
const param = (type: string, code: string) => searchParamsOf(type).get(code)!;
const values = (type: string, query: string) => {
  const criterion = where(type, query);
  return criterion.op === 'param' ? criterion.of : criterion;
};

function refusal(type: string | undefined, query: string, strict = false): { code: string; message: string } {
  try {
    parse(type, query, { strict });
  } catch (error) {
    if (error instanceof InterlockError) return { code: error.code, message: error.message };
    throw error;
  }
  return { code: 'accepted', message: '' };
}

describe('AND, OR, escapes', () => {
  test('one parameter is one criterion, several are all of them, none is everything', () => {
    expect(where('Patient', '')).toEqual({ op: 'all', of: [] });
    expect(where('Patient', 'family=a')).toEqual({ op: 'param', param: param('Patient', 'family'), of: [{ kind: 'string', value: 'a' }] });
    expect(where('Patient', 'family=a&family=b')).toMatchObject({ op: 'all', of: [{ op: 'param' }, { op: 'param' }] });
    expect(values('Patient', 'family=a,b')).toEqual([{ kind: 'string', value: 'a' }, { kind: 'string', value: 'b' }]);
  });

  test('backslash takes separators as text', () => {
    expect(values('Patient', String.raw`family=a\,b,c\|d,e\$f,g\\,h\i`)).toEqual(['a,b', 'c|d', 'e$f', 'g\\', 'h\\i'].map((value) => ({ kind: 'string', value })));
    expect(values('Patient', String.raw`identifier=urn:a\|b|c\|d`)).toEqual([{ kind: 'token', system: 'urn:a|b', code: 'c|d' }]);
  });

  test('empty values and unknown parameters are ignored, or refused if strict', () => {
    expect(parse('Patient', 'family=&zip=1&name=a,,')).toMatchObject({ ignored: ['family', 'zip'], used: [['name', 'a,,']], where: { of: [{ value: 'a' }] } });
    expect(refusal('Patient', 'family=', true).code).toBe('search-invalid');
    expect(refusal('Patient', 'zip=1', true).code).toBe('search-unsupported');
    expect(parse('Patient', 'constructor=1&__proto__=2').ignored).toEqual(['constructor', '__proto__']);
  });
});

describe('values by parameter type', () => {
  test('token', () => {
    expect(values('Patient', 'identifier=7,urn:m|7,urn:m|,|7')).toEqual([{ kind: 'token', code: '7' }, { kind: 'token', system: 'urn:m', code: '7' }, { kind: 'token', system: 'urn:m' }, { kind: 'token', system: '', code: '7' }]);
    for (const bad of ['identifier=%7C', 'identifier=a|b|c']) expect(refusal('Patient', bad).code).toBe('search-invalid');
  });

  test('token modifiers', () => {
    expect(where('Patient', 'gender:not=male,female')).toEqual({ op: 'not', of: { op: 'param', param: param('Patient', 'gender'), of: [{ kind: 'token', code: 'male' }, { kind: 'token', code: 'female' }] } });
    expect(where('Observation', 'code:text=glu')).toMatchObject({ op: 'param', modifier: 'text', of: [{ kind: 'string', value: 'glu' }] });
    expect(where('Observation', 'code:in=http://vs.example/1,ValueSet/2')).toEqual({ op: 'valueSet', param: param('Observation', 'code'), of: ['http://vs.example/1', 'ValueSet/2'] });
    expect(where('Observation', 'code:not-in=ValueSet/2')).toMatchObject({ op: 'not', of: { op: 'valueSet' } });
    expect(where('Observation', 'code:below=http://loinc.org|1-1')).toMatchObject({ op: 'subsumed', direction: 'below', of: [{ system: 'http://loinc.org', code: '1-1' }] });
    expect(values('Patient', 'identifier:of-type=urn:t|MR|7')).toEqual([{ kind: 'identifier', typeSystem: 'urn:t', typeCode: 'MR', value: '7' }]);
    for (const query of ['code:above=1-1', 'code:of-type=a|b|c', 'identifier:of-type=MR|7', 'identifier:of-type=|MR|7']) expect(refusal('Observation', query).code).toBe('search-invalid');
    for (const modifier of ['exact', 'contains', 'Patient', 'identifier', 'nonsense', '']) expect(refusal('Observation', `code:${modifier}=a`).code).toBe('search-invalid');
  });

  test('string', () => {
    expect(where('Patient', 'name:exact=A,B')).toMatchObject({ modifier: 'exact', of: [{ value: 'A' }, { value: 'B' }] });
    expect(where('Patient', 'name:contains=A')).toMatchObject({ modifier: 'contains' });
    for (const bad of ['name:not=a', 'name:text=a', 'name=%20', 'name=%CC%81']) expect(refusal('Patient', bad).code).toBe('search-invalid');
  });

  test('reference', () => {
    const asked = 'subject=1,Patient/2,Patient/2/_history/3,https://here.example/fhir/R4/Patient/4,https://a.example/Patient/5,urn:uuid:6';
    expect(values('Observation', asked)).toEqual([
      { kind: 'reference', id: '1' },
      { kind: 'reference', type: 'Patient', id: '2' },
      { kind: 'reference', type: 'Patient', id: '2' },
      { kind: 'reference', type: 'Patient', id: '4' },
      { kind: 'reference', url: 'https://a.example/Patient/5' },
      { kind: 'reference', url: 'urn:uuid:6' },
    ]);
    expect(values('Observation', 'subject:Patient=1,Patient/2')).toEqual([{ kind: 'reference', type: 'Patient', id: '1' }, { kind: 'reference', type: 'Patient', id: '2' }]);
    expect(where('Observation', 'subject:identifier=urn:m|7')).toMatchObject({ op: 'param', modifier: 'identifier', of: [{ kind: 'token', system: 'urn:m', code: '7' }] });
    for (const bad of ['subject=Nonsense/1', 'subject=a b', 'subject:Patient=Group/1', 'subject:Organization=1', 'subject:Nonsense=1', 'subject:exact=1']) expect(refusal('Observation', bad).code).toBe('search-invalid');
  });

  test('date: prefixes and precision', () => {
    const [lo, hi] = [Date.parse('2020-02-01'), Date.parse('2020-03-01')];
    expect(values('Observation', 'date=2020-02')).toEqual([{ kind: 'date', prefix: 'eq', lo, hi }]);
    for (const prefix of ['eq', 'ne', 'gt', 'lt', 'ge', 'le', 'sa', 'eb']) expect(values('Observation', `date=${prefix}2020-02`)).toEqual([{ kind: 'date', prefix, lo, hi }]);
    expect(values('Observation', 'date=2020-02-01T10:00%2B02:00')).toEqual([{ kind: 'date', prefix: 'eq', lo: Date.parse('2020-02-01T08:00Z'), hi: Date.parse('2020-02-01T08:01Z') }]);
    for (const bad of ['abc', 'xx2020', '2020-13', 'gt', '2020-02-01T10:00 02:00']) expect(refusal('Observation', `date=${bad}`).code).toBe('search-invalid');
    expect(refusal('Observation', 'date:exact=2020').code).toBe('search-invalid');
  });

  test('date: ap widens by a tenth of the distance to now, the zone is an option', () => {
    const day = 86_400_000;
    expect(values('Observation', 'date=ap2025-12-21')).toEqual([{ kind: 'date', prefix: 'ap', lo: Date.parse('2025-12-21') - 1.05 * day, hi: Date.parse('2025-12-22') + 1.05 * day }]);
    expect(parse('Observation', 'date=2020-07-01', { zone: 'America/New_York' }).where).toMatchObject({ of: [{ lo: Date.parse('2020-07-01T04:00Z') }] });
  });

  test('uri', () => {
    expect(values('ValueSet', 'url=urn:a|b,c')).toEqual([{ kind: 'uri', value: 'urn:a|b' }, { kind: 'uri', value: 'c' }]);
    expect(where('ValueSet', 'url:below=http://a')).toMatchObject({ modifier: 'below', of: [{ value: 'http://a' }] });
    const above = where('ValueSet', 'url:above=http://acme.org/fhir/ValueSet/123/_history/5');
    expect(above.op === 'param' && above.of.map((one) => one.kind === 'uri' && one.value)).toEqual(expect.arrayContaining(['http://acme.org/fhir/ValueSet/123/_history/5', 'http://acme.org/fhir/ValueSet/123', 'http://acme.org/fhir/', 'http://acme.org']));
    expect(values('ValueSet', 'url:above=urn:oid:1.2.3')).toEqual([{ kind: 'uri', value: 'urn:oid:1.2.3' }]);
  });

  test('number and quantity', () => {
    expect(values('RiskAssessment', 'probability=gt0.80,1e-2')).toEqual([{ kind: 'number', prefix: 'gt', value: '0.80' }, { kind: 'number', prefix: 'eq', value: '1e-2' }]);
    expect(values('Observation', 'value-quantity=le5.4|http://unitsofmeasure.org|mg,5||mg,5')).toEqual([
      { kind: 'quantity', prefix: 'le', value: '5.4', system: 'http://unitsofmeasure.org', unit: 'mg' },
      { kind: 'quantity', prefix: 'eq', value: '5', unit: 'mg' },
      { kind: 'quantity', prefix: 'eq', value: '5' },
    ]);
    for (const bad of ['', 'x', 'gt', '1e9999', '5|mg', '5|a|b|c', '.5', `1${'0'.repeat(40)}`]) expect(refusal('Observation', `value-quantity=${bad}`, true).code).toBe('search-invalid');
    expect(refusal('Observation', 'value-quantity:not=5').code).toBe('search-invalid');
  });

  test('composite', () => {
    expect(values('Observation', 'code-value-quantity=http://loinc.org|1-1$gt5||mg')).toEqual([
      { kind: 'composite', components: [{ kind: 'token', system: 'http://loinc.org', code: '1-1' }, { kind: 'quantity', prefix: 'gt', value: '5', unit: 'mg' }] },
    ]);
    expect(values('DocumentReference', 'relationship=DocumentReference/1$replaces')).toMatchObject([{ components: [{ kind: 'reference' }, { kind: 'token' }] }]);
    for (const bad of ['a', 'a$', 'a$1$2', 'a$x']) expect(refusal('Observation', `code-value-quantity=${bad}`).code).toBe('search-invalid');
  });

  test(':missing on every searchable type of parameter', () => {
    for (const code of ['code', 'value-string', 'subject', 'date', '_profile']) {
      const present = { op: 'present', param: param('Observation', code) };
      expect(where('Observation', `${code}:missing=false`)).toEqual(present);
      expect(where('Observation', `${code}:missing=true`)).toEqual({ op: 'not', of: present });
      for (const bad of ['yes', 'true,false']) expect(refusal('Observation', `${code}:missing=${bad}`).code).toBe('search-invalid');
    }
  });
});

describe('parameters of all resources', () => {
  test('_id and _lastUpdated are the store\'s', () => {
    expect(where('Patient', '_id=a,b')).toEqual({ op: 'id', ids: ['a', 'b'] });
    expect(where('Patient', '_id:not=a')).toEqual({ op: 'not', of: { op: 'id', ids: ['a'] } });
    expect(where('Patient', '_lastUpdated=gt2020')).toEqual({ op: 'lastUpdated', prefix: 'gt', lo: Date.parse('2020'), hi: Date.parse('2021') });
    expect(where('Patient', '_lastUpdated=2020,2021')).toMatchObject({ op: 'any', of: [{ op: 'lastUpdated' }, { op: 'lastUpdated' }] });
    expect(where('Patient', '_id:missing=true')).toEqual({ op: 'any', of: [] });
    expect(where('Patient', '_lastUpdated:missing=false')).toEqual({ op: 'all', of: [] });
    for (const bad of ['_id:exact=a', '_lastUpdated:not=2020', '_lastUpdated=x', '_id:missing=x']) expect(refusal('Patient', bad).code).toBe('search-invalid');
  });

  test('_tag, _security, _profile, _source', () => {
    expect(where('Patient', '_tag=urn:t|x')).toMatchObject({ op: 'param', param: { code: '_tag' }, of: [{ kind: 'token' }] });
    expect(where('Patient', '_security=x')).toMatchObject({ param: { code: '_security' } });
    for (const code of ['_profile', '_source']) expect(where('Patient', `${code}=urn:p`)).toMatchObject({ param: { code }, of: [{ kind: 'uri', value: 'urn:p' }] });
  });

  test('searches over several types know only what these have in common', () => {
    expect(parse(undefined, '_type=Patient,Observation&_id=1')).toMatchObject({ types: ['Patient', 'Observation'], where: { op: 'id' }, ignored: [] });
    expect(parse(undefined, '_id=1&family=a')).toMatchObject({ ignored: ['family'] });
    expect(parse(undefined, '').types).toHaveLength(146);
    expect(parse(undefined, '_type=Patient&family=a').where).toMatchObject({ op: 'param' });
    expect(parse(undefined, '_type=Observation,Condition&code=a').where).toMatchObject({ op: 'param' });
    expect(refusal(undefined, '_type=Nonsense').code).toBe('search-invalid');
  });
});

describe('chains', () => {
  const chain = (type: string, query: string) => where(type, query) as Extract<AskedCriterion, { op: 'chain' }>;

  test('lead to the types named, or to all that have the parameter', () => {
    expect(chain('Observation', 'subject:Patient.name:exact=A,B')).toEqual({ op: 'chain', param: param('Observation', 'subject'), of: [{ type: 'Patient', where: { op: 'param', param: param('Patient', 'name'), modifier: 'exact', of: [{ kind: 'string', value: 'A' }, { kind: 'string', value: 'B' }] } }] });
    expect(chain('Observation', 'subject.name=a').of.map(({ type }) => type).sort()).toEqual(['Location', 'Patient']);
    expect(chain('Observation', 'subject.birthdate=2000').of.map(({ type }) => type)).toEqual(['Patient']);
    expect(chain('Observation', 'patient.organization.name=a').of[0]!.where).toMatchObject({ op: 'chain', of: [{ type: 'Organization', where: { op: 'param' } }] });
    expect(chain('Observation', 'patient._id=1').of[0]!.where).toEqual({ op: 'id', ids: ['1'] });
    expect(chain('Encounter', 'patient._has:Group:member:_id=1').of[0]!.where).toMatchObject({ op: 'has', type: 'Group', where: { op: 'id' } });
  });

  test('_has', () => {
    expect(where('Patient', '_has:Observation:patient:code=a')).toMatchObject({ op: 'has', type: 'Observation', where: { op: 'param', of: [{ code: 'a' }] } });
    expect(where('Patient', '_has:Observation:patient:_has:AuditEvent:entity:agent=Practitioner/1')).toMatchObject({ op: 'has', where: { op: 'has', type: 'AuditEvent' } });
    expect(where('Patient', '_has:Observation:patient:performer.name=x')).toMatchObject({ op: 'has', where: { op: 'chain' } });
    expect(where('Patient', '_list=List/1,2')).toMatchObject({ op: 'has', type: 'List', where: { op: 'id', ids: ['1', '2'] } });
    for (const bad of ['_has', '_has:Observation', '_has:Observation:patient', '_has:Observation:code:a', '_has:Nonsense:patient:code', '_has:Observation:encounter:code', '_has:Observation:patient:nonsense', '_has:Observation:patient:']) expect(refusal('Patient', `${bad}=a`).code).toBe('search-invalid');
  });

  test('what is no chain is refused, what is unknown is ignored', () => {
    for (const bad of ['code.name', 'subject.nonsense', 'subject:Organization.name', 'subject:Nonsense.name', 'subject:Patient:x.name', 'subject.', 'subject:Patient.name:nonsense', 'subject:Patient.birthdate:exact']) expect(refusal('Observation', `${bad}=a`).code).toBe('search-invalid');
    expect(parse('Observation', 'nonsense.name=a').ignored).toEqual(['nonsense.name']);
    expect(refusal('Patient', '_list=$current-problems').code).toBe('search-unsupported');
    expect(refusal('Patient', '_query=x').code).toBe('search-unsupported');
  });

  test('are bounded', () => {
    const started = performance.now();
    for (const query of [`${'part-of:Observation.'.replace('part-of', 'has-member').repeat(8)}code=a`, 'focus.subject.subject.subject.code=a']) expect(refusal('Observation', query).code).toBe('too-costly');
    expect(performance.now() - started).toBeLessThan(1_000);
  });
});

describe('result parameters', () => {
  test('_count, _summary, _total', () => {
    const limits = { defaultCount: 20, maxCount: 100 };
    expect(parse('Patient', '', limits)).toMatchObject({ count: 20, total: 'default' });
    expect(parse('Patient', '_count=7', limits).count).toBe(7);
    expect(parse('Patient', '_count=5000', limits).count).toBe(100);
    expect(parse('Patient', '_count=0')).toMatchObject({ count: 0, total: 'accurate' });
    expect(parse('Patient', '_summary=count&_count=5')).toMatchObject({ count: 0, total: 'accurate', summary: 'count' });
    expect(parse('Patient', '_total=none&_summary=text')).toMatchObject({ total: 'none', summary: 'text' });
    for (const bad of ['_count=x', '_count=-1', '_count=1.5', '_count=1,2', '_total=all', '_summary=yes', '_count:exact=1', '_elements=a..b']) expect(refusal('Patient', bad).code).toBe('search-invalid');
  });

  test('_sort', () => {
    expect(parse('Patient', '_sort=-birthdate,family,_id&_sort=_lastUpdated').sort).toEqual([
      { param: param('Patient', 'birthdate'), descending: true },
      { param: param('Patient', 'family'), descending: false },
      { param: '_id', descending: false },
      { param: '_lastUpdated', descending: false },
    ]);
    expect(parse('Patient', '_sort=nonsense,family').sort).toHaveLength(1);
    expect(parse('Patient', '_sort=family,_score,-birthdate')).toMatchObject({ sort: [{ descending: false }, { descending: true }], used: [['_sort', 'family,-birthdate']] });
    expect(parse('Patient', '_sort=_score')).toMatchObject({ sort: [], used: [], ignored: ['_sort'] });
    expect(refusal('Patient', '_sort=nonsense', true).code).toBe('search-unsupported');
    expect(refusal('Observation', '_sort=code-value-string', true).code).toBe('search-unsupported');
    expect(refusal('Patient', `_sort=${Array.from({ length: 9 }, () => 'family').join(',')}`).code).toBe('too-costly');
  });

  test('_elements, _cursor, _format', () => {
    expect(parse('Patient', '_elements=name,birthDate&_cursor=abc&_format=json&_pretty=true')).toMatchObject({ elements: ['name', 'birthDate'], cursor: 'abc', used: [['_elements', 'name,birthDate']], ignored: [] });
  });

  test('_include and _revinclude', () => {
    expect(parse('MedicationRequest', '_include=MedicationRequest:patient').include).toEqual([{ sourceType: 'MedicationRequest', param: param('MedicationRequest', 'patient') }]);
    expect(parse('Observation', '_include=Observation:subject:Patient').include[0]).toMatchObject({ targetType: 'Patient' });
    expect(parse('Patient', '_revinclude=Provenance:target').revInclude).toEqual([{ sourceType: 'Provenance', param: param('Provenance', 'target') }]);
    expect(parse('Observation', '_include=*&_include=Observation:*&_revinclude=*').include).toEqual([{ sourceType: '*', param: '*' }, { sourceType: 'Observation', param: '*' }]);
    for (const modifier of ['iterate', 'recurse']) expect(parse('Observation', `_include:${modifier}=Patient:organization`).include).toEqual([{ sourceType: 'Patient', param: param('Patient', 'organization'), iterates: true }]);
    for (const bad of ['Observation', 'Observation:', 'Nonsense:subject', 'Observation:code', 'Observation:nonsense', 'Observation:subject:Nonsense', 'Observation:subject:Patient:x', ':subject']) expect(refusal('Observation', `_include=${bad}`).code).toBe('search-invalid');
    expect(refusal('Observation', '_include:exact=Observation:subject').code).toBe('search-invalid');
  });
});

describe('bounds and discretion', () => {
  test('too many or too long is too costly', () => {
    expect(refusal('Patient', 'family=a&'.repeat(searchBounds.maxParams)).code).toBe('accepted');
    expect(refusal('Patient', 'family=a&'.repeat(searchBounds.maxParams + 1)).code).toBe('too-costly');
    expect(refusal('Patient', `_id=${'a,'.repeat(searchBounds.maxValues)}`).code).toBe('too-costly');
    expect(refusal('Patient', `family=${'a'.repeat(searchBounds.maxValueLength + 1)}`).code).toBe('too-costly');
  });

  test('refusals name known parameters only, and never values', () => {
    expect(refusal('Observation', 'date=Secret')).toMatchObject({ message: expect.stringContaining('date') });
    for (const query of ['date=Secret', 'date:Secret=2020', 'Secret=1', 'subject=Secret/x y', '_sort=Secret', '_include=Secret:a', '_type=Secret', 'subject:Secret.x=1', '_total=Secret', 'code:Secret=1']) {
      expect(refusal(query.startsWith('_type') ? undefined : 'Observation', query, true)).toEqual({ code: expect.not.stringMatching('accepted'), message: expect.not.stringContaining('Secret') });
    }
  });
});
