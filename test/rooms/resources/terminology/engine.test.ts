import { describe, expect, test } from '@jest/globals';
import { InterlockError } from '../../../../resources/outcome/error.ts';
import { compareVersions, TerminologyCollection } from '../../../../resources/terminology/collection.ts';
import { expand, membersOf } from '../../../../resources/terminology/expand.ts';
import { compileRegex } from '../../../../resources/terminology/regex.ts';
import { codesOfShipped, isMember, shipped, shippedResource, shippedUrls } from '../../../../resources/terminology/shipped.ts';
import { subsumptionOf } from '../../../../resources/terminology/subsumes.ts';
import { translate } from '../../../../resources/terminology/translate.ts';
import type { CodeSystem, ConceptMap, TerminologyResource, ValueSet, ValueSetInclude } from '../../../../resources/terminology/types.ts';
import { validateInCodeSystem, validateInValueSet } from '../../../../resources/terminology/validate.ts';

const animals: CodeSystem = {
  resourceType: 'CodeSystem', url: 'urn:animals', version: '1', status: 'active', content: 'complete', caseSensitive: false, property: [{ code: 'legs' }, { code: 'up', uri: 'http://hl7.org/fhir/concept-properties#parent' }],
  concept: [
    { code: 'animal', display: 'Animal', property: [{ code: 'notSelectable', valueBoolean: true }], concept: [
      { code: 'mammal', display: 'Mammal', concept: [{ code: 'dog', display: 'Dog', property: [{ code: 'legs', valueInteger: 4 }], designation: [{ language: 'de', value: 'Hund' }] }, { code: 'bat', display: 'Bat', property: [{ code: 'legs', valueInteger: 2 }] }] },
      { code: 'flier', display: 'Flier', concept: [{ code: 'crow', display: 'Crow' }] },
    ] },
    { code: 'dodo', display: 'Dodo', property: [{ code: 'inactive', valueBoolean: true }, { code: 'up', valueCode: 'flier' }] },
    { code: 'pipistrelle', display: 'Pipistrelle', property: [{ code: 'parent', valueCode: 'bat' }, { code: 'parent', valueCode: 'flier' }] },
  ],
};

function contentOf(...resources: readonly TerminologyResource[]): TerminologyCollection {
  const content = new TerminologyCollection();
  for (const resource of [animals, ...resources]) content.add({ resource });
  return content;
}

function valueSet(include: readonly ValueSetInclude[], more: Partial<ValueSet> = {}, exclude?: readonly ValueSetInclude[]): ValueSet {
  return { resourceType: 'ValueSet', url: 'urn:set', status: 'active', ...more, compose: { include, ...(exclude === undefined ? {} : { exclude }) } };
}

function codes(set: ValueSet, ...resources: readonly TerminologyResource[]): string {
  return [...membersOf(set, contentOf(...resources)).values()].map(({ code }) => code).join(' ');
}

function codeOf(work: () => unknown): string {
  try {
    work();
    return 'none';
  } catch (error) {
    if (!(error instanceof InterlockError)) throw error;
    return error.code;
  }
}

describe('what a value set has', () => {
  const system = 'urn:animals';
  const filtered = (property: string, op: string, value: string) => codes(valueSet([{ system, filter: [{ property, op, value }] }]));

  test.each([
    ['concept', 'is-a', 'mammal', 'mammal dog bat pipistrelle'],
    ['concept', 'descendent-of', 'mammal', 'dog bat pipistrelle'],
    ['concept', 'is-not-a', 'mammal', 'animal flier crow dodo'],
    ['concept', 'generalizes', 'crow', 'animal flier crow'],
    ['concept', 'is-a', 'nothing', ''],
    ['legs', '=', '4', 'dog'],
    ['legs', 'in', '2, 4', 'dog bat'],
    ['legs', 'not-in', '4', 'animal mammal bat flier crow dodo pipistrelle'],
    ['legs', 'exists', 'true', 'dog bat'],
    ['legs', 'exists', 'false', 'animal mammal flier crow dodo pipistrelle'],
    ['code', 'regex', '[a-c]..', 'bat'],
    ['display', 'regex', '^(Do.+|Crow)$', 'dog crow dodo'],
    ['parent', '=', 'flier', 'crow dodo pipistrelle'],
    ['child', '=', 'dog', 'mammal'],
    ['inactive', '=', 'true', 'dodo'],
  ])('%s %s %s', (property, op, value, expected) => {
    expect(filtered(property, op, value)).toBe(expected);
  });

  test('several filters all hold; several includes add up; excludes take away', () => {
    expect(codes(valueSet([{ system, filter: [{ property: 'concept', op: 'is-a', value: 'mammal' }, { property: 'concept', op: 'is-a', value: 'flier' }] }]))).toBe('pipistrelle');
    expect(codes(valueSet([{ system, concept: [{ code: 'crow' }, { code: 'unknown' }] }, { system: 'http://snomed.info/sct', concept: [{ code: '1' }] }]))).toBe('crow 1');
    expect(codes(valueSet([{ system }], {}, [{ system, filter: [{ property: 'concept', op: 'is-a', value: 'animal' }] }]))).toBe('');
    expect(codes(valueSet([{ system }], {}, [{ system, concept: [{ code: 'dog' }] }]))).not.toContain('dog');
  });

  test('imports are intersected within an include, and with its system', () => {
    const mammals = valueSet([{ system, filter: [{ property: 'concept', op: 'is-a', value: 'mammal' }] }], { url: 'urn:mammals', version: '1' });
    const fliers = valueSet([{ system, filter: [{ property: 'concept', op: 'is-a', value: 'flier' }] }], { url: 'urn:fliers' });
    expect(codes(valueSet([{ valueSet: ['urn:mammals', 'urn:fliers'] }]), mammals, fliers)).toBe('pipistrelle');
    expect(codes(valueSet([{ valueSet: ['urn:mammals|1'] }, { valueSet: ['urn:fliers'] }]), mammals, fliers)).toBe('mammal dog bat pipistrelle flier crow dodo');
    expect(codes(valueSet([{ system, concept: [{ code: 'dog' }, { code: 'crow' }], valueSet: ['urn:mammals'] }]), mammals)).toBe('dog');
    expect(codeOf(() => codes(valueSet([{ valueSet: ['urn:mammals|2'] }]), mammals))).toBe('not-enumerable');
  });

  test('circles, missing systems, unknown operators and bad patterns are refused', () => {
    const a = valueSet([{ valueSet: ['urn:b'] }], { url: 'urn:a' });
    const b = valueSet([{ valueSet: ['urn:a'] }], { url: 'urn:b' });
    expect(codeOf(() => codes(a, a, b))).toBe('request-invalid');
    expect(codeOf(() => codes(valueSet([{ system: 'http://snomed.info/sct' }])))).toBe('not-enumerable');
    expect(() => codes(valueSet([{ system: 'http://snomed.info/sct' }]))).toThrow('SNOMED CT');
    expect(() => codes(valueSet([{ system: 'urn:secret-name' }]))).not.toThrow('secret-name');
    expect(codeOf(() => filtered('code', 'like', 'x'))).toBe('request-invalid');
    expect(codeOf(() => filtered('code', 'regex', '('))).toBe('request-invalid');
  });

  test('a cycle in a hierarchy is survived', () => {
    const loop: CodeSystem = { resourceType: 'CodeSystem', url: 'urn:loop', content: 'complete', concept: [{ code: 'a', property: [{ code: 'parent', valueCode: 'b' }] }, { code: 'b', property: [{ code: 'parent', valueCode: 'a' }] }] };
    expect(codes(valueSet([{ system: 'urn:loop', filter: [{ property: 'concept', op: 'is-a', value: 'a' }] }]), loop)).toBe('a b');
    expect(subsumptionOf(contentOf(loop).codeSystem('urn:loop')!, 'a', 'b')).toBe('equivalent');
  });

  test('too many codes are too costly', () => {
    const concept = Array.from({ length: 501 }, (_, index) => ({ code: `c${index}` }));
    const big: CodeSystem = { resourceType: 'CodeSystem', url: 'urn:big', content: 'complete', concept };
    expect(codeOf(() => membersOf(valueSet([{ system: 'urn:big' }]), contentOf(big), { maxCodes: 500 }))).toBe('too-costly');
    expect(membersOf(valueSet([{ system: 'urn:big' }]), contentOf(big), { maxCodes: 501 }).size).toBe(501);
  });

  test('patterns on long texts, and endless imports, are refused in bounded time', () => {
    const concept = Array.from({ length: 20_000 }, (_, index) => ({ code: `c${index}`, display: 'a'.repeat(400) }));
    const long: CodeSystem = { resourceType: 'CodeSystem', url: 'urn:long', content: 'complete', concept };
    const start = performance.now();
    expect(codeOf(() => codes(valueSet([{ system: 'urn:long', filter: [{ property: 'display', op: 'regex', value: '(a?a?a?a?a?a?a?a?){100}b' }] }]), long))).toBe('too-costly');
    expect(codeOf(() => codes(valueSet(Array.from({ length: 100_000 }, () => ({ valueSet: ['urn:all'] }))), long, valueSet([{ system: 'urn:long' }], { url: 'urn:all' })))).toBe('too-costly');
    expect(performance.now() - start).toBeLessThan(15_000);
    expect(codeOf(() => expand(valueSet([{ system }]), contentOf(), { filter: 'a '.repeat(21) }))).toBe('too-costly');
  });

  test('a whole stored expansion stands in where the definition cannot be evaluated, nested codes too', () => {
    const contains = [{ system: 'http://snomed.info/sct', code: '1', contains: [{ system: 'http://snomed.info/sct', code: '2' }] }];
    const set = valueSet([{ system: 'http://snomed.info/sct', filter: [{ property: 'concept', op: 'is-a', value: '1' }] }]);
    expect(codes({ ...set, expansion: { total: 2, contains } })).toBe('1 2');
    expect(codeOf(() => codes({ ...set, expansion: { total: 3, contains } }))).toBe('not-enumerable');
  });

  test('a page: filter, offset, count, active codes, designations, languages', () => {
    const all = valueSet([{ system }]);
    const page = (request: Parameters<typeof expand>[2]) => expand(all, contentOf(), request);
    expect(page({ offset: 2, count: 2 })).toMatchObject({ total: 8, contains: [{ code: 'dog' }, { code: 'bat' }] });
    expect(page({ count: 0 })).toEqual({ total: 8, contains: [] });
    expect(page({ filter: 'HUN' }).contains).toEqual([{ system, version: '1', code: 'dog', display: 'Dog' }]);
    expect(page({ filter: 'dog', displayLanguage: 'de' }).contains[0]).toMatchObject({ display: 'Hund' });
    expect(page({ filter: 'dog', includeDesignations: true }).contains[0]).toMatchObject({ designation: [{ language: 'de', value: 'Hund' }] });
    expect(page({ filter: 'dog', designations: ['fr'] }).contains[0]).not.toHaveProperty('designation');
    expect(page({ activeOnly: true }).total).toBe(7);
    expect(page({ excludeNotForUi: true }).contains.map(({ code }) => code)).not.toContain('animal');
    expect(page({ filter: 'dodo' }).contains[0]).toMatchObject({ inactive: true });
    expect(page({ excludeSystems: [system] }).total).toBe(0);
    expect([...membersOf({ ...all, compose: { ...all.compose, inactive: false } }, contentOf()).keys()]).not.toContain('urn:animals|dodo');
  });
});

test('regular expressions match whole values, in bounded time', () => {
  expect(['[A-Z]{2,3}', '\\d+(\\.\\d*)?', 'a|bc*', '[^-x]\\-[a\\]]', '(?:ab)+', ''].map((pattern) => [
    'AB', 'ABCD', '12.', 'b', 'bccc', 'y-]', 'abab', '',
  ].filter(compileRegex(pattern)))).toEqual([['AB'], ['12.'], ['b', 'bccc'], ['y-]'], ['abab'], ['']]);
  const before = process.cpuUsage().user;
  expect(compileRegex('(a*)*b')('a'.repeat(1_000))).toBe(false);
  expect(compileRegex('(a|a|a)*(a|aa)*a{0,50}c')('a'.repeat(1_000))).toBe(false);
  expect(process.cpuUsage().user - before).toBeLessThan(2_000_000);
  for (const pattern of ['(a)\\1', 'a(?=b)', 'a**', '[z-a]', 'a{3,2}', '\\p{L}', ')', '[']) expect(codeOf(() => compileRegex(pattern))).toBe('request-invalid');
  expect(codeOf(() => compileRegex('((a{100}){100}){100}'))).toBe('too-costly');
  expect(codeOf(() => compileRegex('('.repeat(100)))).toBe('too-costly');
});

describe('whether a code is right', () => {
  const system = 'urn:animals';
  const inSystem = (...codings: Parameters<typeof validateInCodeSystem>[2]['codings']) => validateInCodeSystem(system, contentOf(), { codings });

  test('in a code system', () => {
    expect(inSystem({ code: 'DOG', display: ' dog ' })).toMatchObject({ result: true, display: 'Dog', coding: { system, code: 'dog' } });
    expect(inSystem({ code: 'dog', display: 'Hund' }).result).toBe(true);
    expect(inSystem({ code: 'dog', display: 'Cat' })).toMatchObject({ result: false, display: 'Dog' });
    expect(inSystem({ code: 'cat' }, { code: 'bat' }).result).toBe(true);
    expect(inSystem({ system: 'urn:other', code: 'dog' }).result).toBe(false);
    expect(validateInCodeSystem(undefined, contentOf(), { codings: [{ system: 'http://snomed.info/sct', code: '1' }] })).toEqual({ result: false, message: expect.stringContaining('not held') });
    expect(validateInCodeSystem(system, contentOf(), { codings: [{ code: 'animal' }], abstract: false }).result).toBe(false);
    expect(inSystem({ code: 'dodo' })).toMatchObject({ result: true, message: expect.stringContaining('no longer') });
  });

  test('in a value set, also where that can be told only in part', () => {
    const set = valueSet([{ system, concept: [{ code: 'dog' }] }, { system: 'http://loinc.org' }]);
    const check = (codings: Parameters<typeof validateInValueSet>[2]['codings']) => validateInValueSet(set, contentOf(), { codings });
    expect(check([{ system, code: 'dog' }]).result).toBe(true);
    expect(check([{ system: 'http://loinc.org', code: '8867-4' }])).toEqual({ result: false, message: expect.stringContaining('LOINC') });
    const list = valueSet([{ system, concept: [{ code: 'dog' }] }]);
    expect(validateInValueSet(list, contentOf(), { codings: [{ code: 'dog' }] }).result).toBe(true);
    expect(validateInValueSet(list, contentOf(), { codings: [{ system, code: 'Dog' }] }).result).toBe(true);
    expect(validateInValueSet(list, contentOf(), { codings: [{ system: 'urn:other', code: 'dog' }] }).result).toBe(false);
    expect(validateInValueSet(list, contentOf(), { codings: [] }).result).toBe(false);
  });
});

test('codes subsume each other by the hierarchy, unless that means something else', () => {
  const index = contentOf().codeSystem('urn:animals')!;
  expect([['dog', 'DOG'], ['animal', 'pipistrelle'], ['pipistrelle', 'flier'], ['dog', 'bat']].map(([a, b]) => subsumptionOf(index, a!, b!))).toEqual(['equivalent', 'subsumes', 'subsumed-by', 'not-subsumed']);
  expect(subsumptionOf(index, 'dog', 'cat')).toBeUndefined();
  const parts: CodeSystem = { ...animals, url: 'urn:parts', hierarchyMeaning: 'part-of' };
  expect(subsumptionOf(contentOf(parts).codeSystem('urn:parts')!, 'animal', 'dog')).toBe('not-subsumed');
});

describe('translations', () => {
  const map: ConceptMap = {
    resourceType: 'ConceptMap', url: 'urn:map', version: '2', sourceUri: 'urn:from-set', targetUri: 'urn:to-set',
    group: [{
      source: 'urn:animals', target: 'urn:pets',
      element: [
        { code: 'dog', target: [{ code: 'doggo', equivalence: 'equivalent' }, { code: 'puppy', equivalence: 'narrower', dependsOn: [{ property: 'urn:age', value: 'young' }] }] },
        { code: 'crow', target: [{ equivalence: 'unmatched' }] },
      ],
      unmapped: { mode: 'other-map', url: 'urn:rest' },
    }],
  };
  const rest: ConceptMap = { resourceType: 'ConceptMap', url: 'urn:rest', group: [{ source: 'urn:animals', target: 'urn:pets', unmapped: { mode: 'fixed', code: 'other', display: 'Other' } }] };
  const ask = (code: string, more: Partial<Parameters<typeof translate>[1]> = {}) => translate([map], { codings: [{ system: more.reverse === true ? 'urn:pets' : 'urn:animals', code }], ...more }, contentOf(rest));

  test('forward, by dependency, unmatched, unmapped, backward', () => {
    expect(ask('dog')).toEqual({ result: true, matches: [{ equivalence: 'equivalent', concept: { system: 'urn:pets', code: 'doggo' }, source: 'urn:map|2' }] });
    expect(ask('dog', { dependencies: [{ property: 'urn:age', value: 'young' }] }).matches.map(({ concept }) => concept?.code)).toEqual(['doggo', 'puppy']);
    expect(ask('crow')).toMatchObject({ result: false, matches: [{ equivalence: 'unmatched' }] });
    expect(ask('bat')).toMatchObject({ result: true, matches: [{ equivalence: 'inexact', concept: { code: 'other' } }] });
    expect(ask('puppy', { reverse: true })).toMatchObject({ result: true, matches: [{ equivalence: 'wider', concept: { system: 'urn:animals', code: 'dog' } }] });
    expect(ask('dog', { target: 'urn:elsewhere' }).matches).toEqual([]);
    expect(ask('dog', { source: 'urn:from-set', target: 'urn:to-set|9', targetSystem: 'urn:pets' }).result).toBe(true);
    expect(ask('dog', { targetSystem: 'urn:elsewhere' }).result).toBe(false);
  });

  test('maps that lead to each other are refused', () => {
    const ring: ConceptMap = { resourceType: 'ConceptMap', url: 'urn:ring', group: [{ source: 'urn:animals', unmapped: { mode: 'other-map', url: 'urn:ring' } }] };
    expect(codeOf(() => translate([ring], { codings: [{ system: 'urn:animals', code: 'dog' }] }, contentOf(ring)))).toBe('too-costly');
  });
});

describe('versions', () => {
  test('the latest active one, or the one that is named; what is shipped cannot be posted anew', () => {
    const at = (version: string, status: string): CodeSystem => ({ ...animals, url: 'urn:v', version, status });
    const content = contentOf(at('2.9', 'active'), at('2.10', 'active'), at('3', 'draft'), at('1', 'retired'));
    expect([undefined, '3', '1', '4'].map((version) => content.codeSystem('urn:v', version)?.resource.version)).toEqual(['2.10', '3', '1', undefined]);
    const gender = { ...shippedResource('ValueSet', 'http://hl7.org/fhir/ValueSet/administrative-gender')!, compose: { include: [] } };
    const posted = contentOf(gender, { ...gender, version: '99' });
    expect(posted.valueSet(gender.url!, '4.0.1')).toBe(shipped.valueSet(gender.url!));
    expect(posted.valueSet(gender.url!)?.version).toBe('99');
  });

  test('are compared by their numbers', () => {
    expect(['2.10', '2.9', '10', '2024-02-01', '2023-12-31', '2.9.1', undefined].toSorted(compareVersions)).toEqual(['2.9', '2.9.1', '2.10', '10', '2023-12-31', '2024-02-01', undefined]);
  });
});

describe('what is shipped', () => {
  test('has most of what R4 publishes, and says clearly what it cannot tell', () => {
    const outcomes = new Map<string, number>();
    for (const url of shippedUrls('ValueSet')) {
      const outcome = codeOf(() => codesOfShipped(url));
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
    expect([...outcomes]).toEqual([['none', 1_225], ['not-enumerable', 92]]);
    expect(shippedUrls('CodeSystem').length).toBeGreaterThan(1_000);
  });

  test('answers for the profile validator', () => {
    expect(isMember('http://hl7.org/fhir/ValueSet/administrative-gender|4.0.1', 'female')).toBe(true);
    expect(isMember('http://hl7.org/fhir/ValueSet/administrative-gender', 'female', 'http://hl7.org/fhir/administrative-gender')).toBe(true);
    expect(isMember('http://hl7.org/fhir/ValueSet/administrative-gender', 'feminine')).toBe(false);
    expect(isMember('http://hl7.org/fhir/ValueSet/condition-code', '1', 'http://snomed.info/sct')).toBeUndefined();
    expect(isMember('urn:unknown', 'x')).toBeUndefined();
  });
});
