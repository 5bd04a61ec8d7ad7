import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { resourceTypes } from '../../../../resources/definitions/index.ts';
import { InterlockError } from '../../../../resources/outcome/error.ts';
import { assertValid, maxIssues, parseResource, precompile, validateResource } from '../../../../resources/validate/index.ts';
import { badResources } from './bad-resources.ts';

const extension = [{ url: 'http://a.example/reason', valueCode: 'unknown' }];
const patient = { resourceType: 'Patient' };
const narrative = (inner: string) => ({ ...patient, text: { status: 'generated', div: `<div xmlns="http://www.w3.org/1999/xhtml">${inner}</div>` } });

describe('validateResource refuses', () => {
  test.each(badResources)('%s: %s at %s', (_what, code, expression, resource) => {
    const issues = validateResource(resource);
    expect(issues.map((issue) => ({ code: issue.code, expression: issue.expression }))).toEqual([{ code, expression }]);
    expect(JSON.stringify(issues).toLowerCase()).not.toContain('sekret');
  });
});

describe('validateResource accepts', () => {
  test.each<[string, unknown]>([
    ['a resource with nothing but its type', patient],
    ['extensions in place of a value', { ...patient, _birthDate: { extension } }],
    ['an extension in place of a required value', { resourceType: 'Observation', _status: { extension }, code: { text: 'x' } }],
    ['nulls that keep values and extensions aligned', { ...patient, name: [{ given: ['A', null, 'C'], _given: [null, { extension }, { id: 'c' }] }] }],
    ['a companion alone', { ...patient, name: [{ _given: [{ extension }] }] }],
    ['a value with its own companion', { resourceType: 'Observation', status: 'final', code: { text: 'x' }, valueString: 'a', _valueString: { extension } }],
    ['a leap day', { ...patient, birthDate: '2000-02-29' }],
    ['years and months', { ...patient, birthDate: '1970-12', deceasedDateTime: '2020' }],
    ['a leap second', { resourceType: 'Observation', status: 'final', code: { text: 'x' }, effectiveInstant: '2016-12-31T23:59:60Z' }],
    ['codes with single spaces', { resourceType: 'Observation', status: 'final', code: { coding: [{ code: 'a b' }] } }],
    ['zero, negative and tiny decimals', { ...patient, extension: [{ url: 'a', valueDecimal: 0 }, { url: 'a', valueDecimal: -1e-10 }, { url: 'a', valueInteger: -2_147_483_648 }] }],
    ['absolute, versioned, urn and conditional references', { ...patient, generalPractitioner: [{ reference: 'https://a.example/fhir/Practitioner/1' }, { reference: 'Practitioner/1/_history/2' }, { reference: 'urn:uuid:00000000-0000-0000-0000-000000000000' }, { reference: 'Practitioner?identifier=a|b' }, { display: 'x' }] }],
    ['a contained resource that a canonical refers to', { resourceType: 'QuestionnaireResponse', status: 'completed', questionnaire: '#q', contained: [{ resourceType: 'Questionnaire', id: 'q', status: 'active' }] }],
    ['a contained resource that refers to its container', { resourceType: 'Organization', name: 'x', contained: [{ resourceType: 'Location', managingOrganization: { reference: '#' } }] }],
    ['contained resources that refer to each other', { resourceType: 'Encounter', status: 'finished', class: { code: 'AMB' }, subject: { reference: '#p' }, contained: [{ ...patient, id: 'p', managingOrganization: { reference: '#o' } }, { resourceType: 'Organization', id: 'o', name: 'x' }] }],
    ['a period within a day', { ...patient, address: [{ city: 'A', period: { start: '2020-01-01T23:00:00-05:00', end: '2020-01-01' } }] }],
    ['a period with one end', { ...patient, address: [{ city: 'A', period: { start: '2020' } }] }],
    ['a code of a value set that is not shipped', { ...patient, photo: [{ contentType: 'image/png', data: 'AAAA' }] }],
    ['base64 broken into lines', { ...patient, photo: [{ contentType: 'image/png', data: 'AAAA\r\nAAA=' }] }],
    ['formatted narrative', narrative('<h1 id="a">A</h1><p style="color: red">a &amp; b<br/><img src="#i" alt=\'x > y\'/><a href="https://a.example/?a=1&amp;b=2">x</a></p><!-- c --><table border="1"><tr><td colspan="2">1</td></tr></table>')],
    ['an inline image', narrative('<img alt="x" src="data:image/png;base64,iVBORw0KGgo="/>')],
    ['space around the narrative\'s div', { ...patient, text: { status: 'generated', div: ' <div xmlns="http://www.w3.org/1999/xhtml">a</div>\n' } }],
    ['an empty transaction', { resourceType: 'Bundle', type: 'transaction' }],
    ['two versions in a history', { resourceType: 'Bundle', type: 'history', entry: ['1', '2'].map((versionId) => ({ fullUrl: 'https://a.example/Patient/1', resource: { ...patient, id: '1', meta: { versionId } }, request: { method: 'PUT', url: 'Patient/1' }, response: { status: '200' } })) }],
    ['the same local id in two entries', { resourceType: 'Bundle', type: 'collection', entry: ['1', '2'].map((id) => ({ resource: { ...patient, id, managingOrganization: { reference: '#o' }, contained: [{ resourceType: 'Organization', id: 'o', name: 'x' }] } })) }],
  ])('%s', (_what, resource) => {
    expect(validateResource(resource)).toEqual([]);
  });

  const synthea = new URL('../../../../../shared/data/synthea/', import.meta.url);
  (existsSync(synthea) ? test : test.skip)('every Synthea resource (skipped where that data is absent)', () => {
    let count = 0;
    for (const file of readdirSync(synthea)) {
      const bundle = parseResource(readFileSync(new URL(file, synthea)));
      expect(validateResource(bundle)).toEqual([]);
      count += (bundle['entry'] as unknown[]).length;
    }
    expect(count).toBeGreaterThan(1_000);
  });
});

describe('validateResource', () => {
  test('reports all issues, in words that say what is expected', () => {
    expect(validateResource({ resourceType: 'Observation', status: 'x', valueQuantity: { value: '1' }, issued: 'y' })).toEqual([
      { code: 'code-invalid', expression: 'Observation.status', detail: 'The code is not in the required value set.' },
      { code: 'structure-invalid', expression: 'Observation.value.value', detail: 'The JSON type is wrong; expected number.' },
      { code: 'structure-invalid', expression: 'Observation.issued', detail: 'It is not a valid instant.' },
      { code: 'required-missing', expression: 'Observation', detail: 'It lacks code.' },
    ]);
  });

  test('stops at its bound, without reading on', () => {
    const name = Array.from({ length: 200_000 }, () => 7);
    const before = performance.now();
    expect(validateResource({ ...patient, name })).toHaveLength(maxIssues);
    expect(performance.now() - before).toBeLessThan(1_000);
  });

  test('leaves out entries\' resources if told to, but not the entries', () => {
    const bundle = { resourceType: 'Bundle', type: 'batch', entry: [{ resource: { ...patient, gender: 'x' }, request: { method: 'POST', url: 'Patient' } }, {}] };
    expect(validateResource(bundle, { entryResources: false }).map(({ expression }) => expression)).toEqual(['Bundle.entry[1]', 'Bundle.entry[1]']);
  });

  test('starts expressions where it is told', () => {
    expect(validateResource({ ...patient, gender: 'x' }, { root: 'Bundle.entry[3].resource' })[0]?.expression).toBe('Bundle.entry[3].resource.gender');
  });

  test.each(['a'.repeat(1_000_000), `${' a'.repeat(500_000)}  `, '<b>'.repeat(300_000), `<p ${'a="'.repeat(300_000)}`, `<p ${'a '.repeat(300_000)}>`, `${'AAAA'.repeat(250_000)}!`])('takes linear time on hostile strings', (text) => {
    const before = performance.now();
    validateResource({ ...patient, id: text, birthDate: text, text: { status: 'generated', div: `<div xmlns="http://www.w3.org/1999/xhtml">${text.slice(0, 1_000_000)}</div>` }, photo: [{ data: text, url: text, contentType: text }] });
    expect(performance.now() - before).toBeLessThan(1_000);
  });

  test('knows every resource type', () => {
    for (const type of resourceTypes()) {
      precompile(type);
      expect(validateResource({ resourceType: type, id: '_' }).map(({ expression }) => expression)).toContain(`${type}.id`);
    }
  });
});

describe('assertValid', () => {
  const thrown = (resource: unknown): unknown => {
    try {
      assertValid(resource);
    } catch (error) {
      return error;
    }
    return undefined;
  };

  test('lets a good resource pass', () => {
    expect(thrown(patient)).toBeUndefined();
  });

  test('answers 422 to a resource that breaks rules and 400 to what is no resource', () => {
    expect(thrown({ ...patient, gender: 'x' })).toMatchObject({ code: 'code-invalid', status: 422 });
    const both = thrown({ ...patient, gender: 'x', active: 1 });
    expect(both).toBeInstanceOf(InterlockError);
    expect(both).toMatchObject({ code: 'structure-invalid', status: 400, options: { issues: [{ code: 'code-invalid' }, { code: 'structure-invalid' }] } });
  });
});
