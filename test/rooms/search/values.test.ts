import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { searchParamsOf } from '../../../resources/definitions/index.ts';
import { extractSearchValues, patientsOf, ucumUnit, type Resource } from '../../../resources/search-values/index.ts';
import type { Criterion } from '../../../server/search/criteria.ts';
import { matches, type MatchSubject } from '../../../server/search/match.ts';
import { distanceM } from '../../../server/search/near.ts';
import { parseSearch } from '../../../server/search/parse.ts';
import { planType } from '../../../server/search/plan.ts';
import type { TokenExpr } from '../../../server/search/token-expr.ts';
import { spreadLabel } from '../../../server/search/token-policy.ts';
import { indexTokens } from '../../../server/search/tokens.ts';

function subject(resource: Resource): MatchSubject {
  return { type: resource.resourceType, id: 'x', lastUpdatedMs: 0, values: extractSearchValues(resource), patients: patientsOf(resource) };
}

function asked(type: string, query: readonly (readonly [string, string])[]): Criterion {
  return parseSearch(type, query, { strict: true }).where as Criterion;
}

function found(resource: Resource, name: string, value: string): boolean {
  return matches(subject(resource), asked(resource.resourceType, [[name, value]]));
}

/** The tokens that are stored for a resource. */
function tokensOf({ type, values, patients }: MatchSubject, part: number): ReadonlySet<string> {
  const labels = new Set<string>();
  indexTokens(type, searchParamsOf(type), values, patients, (label, spread) => labels.add(spread === 1 ? label : spreadLabel(label, part % spread)));
  return labels;
}

function meets(expr: TokenExpr, tokens: ReadonlySet<string>): boolean {
  switch (expr.op) {
    case 'true': return true;
    case 'false': return false;
    case 'in': return expr.labels.some((label) => tokens.has(label));
    case 'and': return expr.of.every((part) => meets(part, tokens));
    case 'or': return expr.of.some((part) => meets(part, tokens));
    case 'not': return !meets(expr.of, tokens);
    default: throw new Error('not a condition on values');
  }
}

/** What tokens say agrees with the match itself: nothing is missed, and what is certain is right. */
function agrees(resource: Resource, query: readonly (readonly [string, string])[], part = 1): boolean {
  const one = subject(resource);
  const where = asked(resource.resourceType, query);
  const plan = planType(resource.resourceType, where);
  const tokens = tokensOf(one, part);
  const hit = matches(one, where);
  expect({ query, resource, hit, candidate: meets(plan.candidates, tokens) || !hit, certain: !meets(plan.certain, tokens) || hit }).toMatchObject({ candidate: true, certain: true });
  return hit;
}

const ucum = 'http://unitsofmeasure.org';
const observation = (value: object): Resource => ({ resourceType: 'Observation', status: 'final', code: { coding: [{ system: 'http://loinc.org', code: '1-1' }] }, ...value });
const quantity = (value: number, code = 'mg', more: object = {}): Resource => observation({ valueQuantity: { value, unit: code, system: ucum, code, ...more } });

describe('quantities', () => {
  test.each([
    // https://hl7.org/fhir/R4/search.html#quantity
    [5.4, 'mg', `5.4|${ucum}|mg`, true], [5.44, 'mg', `5.4|${ucum}|mg`, true], [5.45, 'mg', `5.4|${ucum}|mg`, false], [5.35, 'mg', `5.4|${ucum}|mg`, true], [0.0054, 'g', `5.4|${ucum}|mg`, true],
    [5.4, 'mg', `0.0054|${ucum}|g`, true], [5400, 'ug', `5.4|${ucum}|mg`, true], [5.4, 'mg', `5.40e-3|${ucum}|g`, true], [5.4, 'mg', '5.4||mg', true], [0.0054, 'g', '5.4||mg', false], [5.4, 'mg', '5.4', true],
    [5.4, 'kg', '5.4', true], [98.6, '[degF]', `37|${ucum}|Cel`, true], [98.6, '[degF]', `le37.0|${ucum}|Cel`, true], [98.6, '[degF]', `ge37.0|${ucum}|Cel`, true], [38, 'Cel', `gt100|${ucum}|[degF]`, true],
    [310.15, 'K', `37.0|${ucum}|Cel`, true], [5, 'mmol/L', `5|${ucum}|mmol/L`, true], [5, 'mmol/L', `5000|${ucum}|umol/L`, true], [5, 'mmol/L', `gt1|${ucum}|mg/dL`, false], [90, 'mg/dL', `0.9|${ucum}|g/L`, true],
    [60, '/min', `1|${ucum}|/s`, true], [60, '{beats}/min', `60|${ucum}|/min`, true], [7, '[pH]', `7|${ucum}|[pH]`, true], [7, '[pH]', `7|${ucum}|[iU]`, false], [7, '[iU]/L', `7000|${ucum}|m[iU]/L`, true],
    [7, '[iU]', `7|${ucum}|1`, false], [7, 'no unit', `7|${ucum}|no unit`, true], [7, 'no unit', `7|${ucum}|mg`, false], [250, '10*3/uL', `250|${ucum}|10*9/L`, true], [1, 'm', `gt39|${ucum}|[in_i]`, true],
    [100, 'mg', 'ap109', true], [100, 'mg', 'ap112', false], [100, 'mg', 'ap90.9', false], [100, 'mg', 'sa99.9', true], [100, 'mg', 'eb100', false], [100, 'mg', 'ne100', false], [100.5, 'mg', 'ne100', true],
  ])('%s %s meets %s: %s', (value, unit, query, expected) => {
    expect(found(quantity(value, unit), 'value-quantity', query)).toBe(expected);
    expect(agrees(quantity(value, unit), [['value-quantity', query]])).toBe(expected);
  });

  test.each([
    ['<', 5, 'lt3', true], ['<', 5, 'gt4.9', true], ['<', 5, 'gt5', false], ['<', 5, 'ge5', false], ['<=', 5, 'ge5', true], ['<', 5, 'eb5', true], ['<=', 5, 'eb5', false], ['>', 5, 'sa5', true],
    ['>=', 5, 'sa5', false], ['>', 5, 'gt500', true], ['<', 5, '5', false], ['<', 5, 'ne5', true], ['>', 5, 'le5', false], ['>=', 5, 'le5', true],
  ])('a value %s %s meets %s: %s', (comparator, value, query, expected) => {
    expect(agrees(quantity(value, 'mg', { comparator }), [['value-quantity', query]])).toBe(expected);
    expect(agrees(quantity(value, 'g', { comparator }), [['value-quantity', `${query}000|${ucum}|mg`]])).toBe(found(quantity(value * 1000, 'mg', { comparator }), 'value-quantity', `${query}000`));
  });

  test('ranges, sampled data, money, ages and durations have values', () => {
    const onset = (onsetRange: object): Resource => ({ resourceType: 'Condition', subject: { reference: 'Patient/p' }, onsetRange });
    const years = (value: number): object => ({ value, system: ucum, code: 'a', unit: 'a' });
    for (const [query, expected] of [['gt44', true], ['gt45', false], ['lt45', true], ['40', false], ['sa39', true], ['sa40', false], ['eb44.9', false], ['eb50', true], ['ap48', true], ['ap50', false], [`gt400|${ucum}|mo`, true]] as const) {
      expect([query, agrees(onset({ low: years(40), high: years(44.9) }), [['onset-age', query]])]).toEqual([query, expected]);
    }
    expect(agrees(onset({ low: years(40) }), [['onset-age', 'gt90']])).toBe(true);
    expect(agrees(onset({ high: years(40) }), [['onset-age', 'gt41']])).toBe(false);
    expect(agrees({ resourceType: 'Condition', subject: {}, onsetAge: years(30) }, [['onset-age', `365|${ucum}|d`]])).toBe(false);
    const sampled = observation({ valueSampledData: { origin: { value: 10, system: ucum, code: 'mV' }, period: 1, factor: 0.5, lowerLimit: 2, dimensions: 1, data: '0 4 E L -2 20' } });
    for (const [query, expected] of [['le2', true], ['lt2', false], ['ge20', true], ['gt20', false], [`sa1|${ucum}|mV`, true], [`ge0.02|${ucum}|V`, true]] as const) expect([query, agrees(sampled, [['value-quantity', query]])]).toEqual([query, expected]);
    const invoice: Resource = { resourceType: 'Invoice', status: 'issued', totalNet: { value: 12.5, currency: 'EUR' } };
    expect(agrees(invoice, [['totalnet', '12.5|urn:iso:std:iso:4217|EUR']])).toBe(true);
    expect(agrees(invoice, [['totalnet', '12.5|urn:iso:std:iso:4217|USD']])).toBe(false);
    const encounter: Resource = { resourceType: 'Encounter', status: 'finished', class: { code: 'AMB' }, length: { value: 90, system: ucum, code: 'min' }, subject: { reference: 'Patient/p' } };
    expect(agrees(encounter, [['length', `1.5|${ucum}|h`], ['patient', 'Patient/p']])).toBe(true);
    const risk: Resource = { resourceType: 'RiskAssessment', status: 'final', subject: { reference: 'Patient/p' }, prediction: [{ probabilityRange: { low: { value: 10, system: ucum, code: '%' }, high: { value: 20, system: ucum, code: '%' } } }] };
    expect(agrees(risk, [['probability', 'gt0.15'], ['patient', 'p']])).toBe(true);
    expect(agrees(risk, [['probability', 'gt0.2'], ['patient', 'p']])).toBe(false);
  });

  const code = fc.constantFrom('mg', 'g', 'ug', 'mmol/L', 'Cel', '[degF]', 'K', '[pH]', '{score}', '%', 'odd');
  const decimal = fc.oneof(
    fc.tuple(fc.integer({ min: -2000, max: 2000 }), fc.integer({ min: -4, max: 3 })).map(([digits, power]) => Number(`${digits}e${power}`)),
    fc.constantFrom(0, 1, 10, 99, 100, 101, 1000, 0.001, 5.35, 5.45, -5.35, -100, 1e-30, 1e40, -1e-30, 9.99, 99.9, 0.0999),
  );
  const prefix = fc.constantFrom('', 'eq', 'ne', 'gt', 'lt', 'ge', 'le', 'sa', 'eb', 'ap');
  const system = fc.constantFrom('', ucum, 'urn:x');

  test('tokens agree with the comparison', () => {
    let hits = 0;
    fc.assert(fc.property(fc.array(fc.tuple(decimal, code, system, fc.constantFrom('', '', '', '<', '>=')), { maxLength: 3 }), prefix, decimal, fc.option(fc.tuple(system, code)), fc.constantFrom('component-value-quantity', 'combo-value-quantity'), fc.nat(3), (values, sign, number, unit, name, part) => {
      const component = values.map(([value, its, from, comparator]) => ({ code: {}, valueQuantity: { value, unit: its, code: its, ...(from === '' ? {} : { system: from }), ...(comparator === '' ? {} : { comparator }) } }));
      if (agrees(observation({ component }), [[name, `${sign}${number}${unit === null ? '' : `|${unit[0]}|${unit[1]}`}`]], part)) hits += 1;
    }), { numRuns: 2_000, seed: 7 });
    expect(hits).toBeGreaterThan(150);
  });

  test('tokens of numbers agree with the comparison', () => {
    let hits = 0;
    fc.assert(fc.property(fc.array(fc.integer({ min: -300, max: 30_000 }), { maxLength: 2 }), prefix, fc.integer({ min: -300, max: 30_000 }), fc.nat(3), (values, sign, number, part) => {
      if (agrees({ resourceType: 'MolecularSequence', coordinateSystem: 0, variant: values.map((start) => ({ start })) }, [['variant-start', `${sign}${number}`]], part)) hits += 1;
    }), { numRuns: 1_000, seed: 8 });
    expect(hits).toBeGreaterThan(150);
  });

  test('tokens of composites agree with the comparison, whose components are of one repeat', () => {
    const panel = observation({ component: [{ code: { coding: [{ code: 'sys' }] }, valueQuantity: { value: 120 } }, { code: { coding: [{ code: 'dia' }] }, valueQuantity: { value: 80 } }] });
    expect(agrees(panel, [['component-code-value-quantity', 'sys$gt100']])).toBe(true);
    expect(agrees(panel, [['component-code-value-quantity', 'dia$gt100']])).toBe(false);
    expect(agrees(panel, [['combo-code-value-quantity', 'dia$80']])).toBe(true);
    const plan = planType('Observation', asked('Observation', [['component-code-value-quantity', 'dia$gt100']]));
    expect(plan.candidates).toMatchObject({ op: 'and' });
    expect(meets(plan.candidates, tokensOf(subject(quantity(5)), 0))).toBe(false);
    let hits = 0;
    const repeat = fc.tuple(fc.constantFrom('a', 'b'), fc.integer({ min: 0, max: 12 }));
    fc.assert(fc.property(fc.array(repeat, { maxLength: 3 }), fc.option(repeat), prefix, fc.tuple(fc.constantFrom('a', 'b', '1-1'), fc.integer({ min: 0, max: 12 })), fc.constantFrom('component-code-value-quantity', 'combo-code-value-quantity', 'code-value-quantity'), (components, own, sign, [asks, number], name) => {
      const component = components.map(([one, value]) => ({ code: { coding: [{ code: one }] }, valueQuantity: { value } }));
      if (agrees(observation({ component, ...(own === null ? {} : { valueQuantity: { value: own[1] } }) }), [[name, `${asks}$${sign}${number}`]])) hits += 1;
    }), { numRuns: 1_000, seed: 9 });
    expect(hits).toBeGreaterThan(150);
  });

  test('every composite of R4 is narrowed by tokens of its components', () => {
    const plan = (type: string, name: string, value: string): TokenExpr => planType(type, asked(type, [[name, value]])).candidates;
    for (const [type, name, value] of [['Observation', 'code-value-date', 'c$2020'], ['Observation', 'code-value-string', 'c$text'], ['MolecularSequence', 'chromosome-variant-coordinate', '1$lt3$gt5'], ['DocumentReference', 'relationship', 'DocumentReference/1$replaces']] as const) {
      expect([name, plan(type, name, value).op]).not.toEqual([name, 'true']);
    }
  });

  test('few tokens for one value', () => {
    const tokens = [...tokensOf(subject(quantity(120, 'mm[Hg]')), 0)].filter((label) => label.includes('quantity'));
    expect(tokens).toHaveLength(5);
    const list = planType('Observation', asked('Observation', [['value-quantity', `gt1.23|${ucum}|mg`]])).candidates;
    expect(list.op === 'in' && list.labels.length).toBeLessThan(200);
  });

  test('units of any text are looked up without failing', () => {
    fc.assert(fc.property(fc.oneof(fc.string({ maxLength: 30 }), fc.string({ unit: fc.constantFrom('m', 'g', '/', '.', '[', ']', '{', '}', '(', ')', '1', '*', '^', '-'), maxLength: 20 })), (text) => {
      const unit = ucumUnit(text);
      return unit === undefined || Number.isFinite(Number(unit.factor));
    }), { numRuns: 500, seed: 3 });
    for (const text of ['__proto__', 'constructor', 'x'.repeat(10_000), '']) expect(ucumUnit(text)).toBeUndefined();
  });
});

describe('near', () => {
  const location = (latitude: number, longitude: number): Resource => ({ resourceType: 'Location', position: { latitude, longitude } });

  test.each([
    ['48.2082|16.3738|1|km', true], ['48.2082|16.3738', true], ['48.2|16.37|1000|m', true], ['48.2|16.37|500|m', false], ['47.07|15.44|150', true], ['47.07|15.44|140', false], ['47.07|15.44|93|[mi_i]', true], ['0|0|20000', true], ['-48|-163|1', false],
  ])('%s: %s', (query, expected) => {
    expect(agrees(location(48.2082, 16.3738), [['near', query]])).toBe(expected);
  });

  test.each(['', '48', '91|0', '0|181', 'a|b', '48|16|-1', '48|16|1|kg', '48|16|1|blah', '48|16|1|km|x', '48|16|x', '|16|1', 'gt48|16'])('%s is refused', (query) => {
    expect(() => asked('Location', [['near', query]])).toThrow(expect.objectContaining({ code: 'search-invalid' }));
  });

  test('cells agree with the distance', () => {
    let hits = 0;
    const latitude = fc.oneof(fc.double({ min: -90, max: 90, noNaN: true }), fc.constantFrom(-90, 90, 0, 89.95, -89.99));
    const longitude = fc.oneof(fc.double({ min: -180, max: 180, noNaN: true }), fc.constantFrom(-180, 180, 0, 179.99, -179.99));
    const km = fc.constantFrom(0, 0.1, 5, 30, 200, 1_000, 5_000, 10_000, 19_000);
    fc.assert(fc.property(latitude, longitude, km, fc.double({ min: -1.2, max: 1.2, noNaN: true }), fc.double({ min: -1.2, max: 1.2, noNaN: true }), (lat, lon, radius, north, east) => {
      // A place about as far away as is asked.
      const there = { latitude: Math.max(-90, Math.min(90, lat + (north * radius) / 111.2)), longitude: ((lon + (east * radius) / 111.2 / Math.max(0.01, Math.cos((lat * Math.PI) / 180)) + 540) % 360) - 180 };
      const distance = distanceM({ latitude: lat, longitude: lon }, there);
      expect(distance).toBeLessThanOrEqual(20_016_000);
      if (agrees(location(there.latitude, there.longitude), [['near', `${lat.toFixed(9)}|${lon.toFixed(9)}|${radius}`]])) hits += 1;
    }), { numRuns: 2_000, seed: 5 });
    expect(hits).toBeGreaterThan(500);
  });
});
