import { describe, expect, test } from '@jest/globals';
import { coveredScopes, covers, parseScope, type ResourceScope } from '../../../server/access/scopes.ts';

function resource(text: string): ResourceScope {
  const scope = parseScope(text);
  if (scope?.kind !== 'resource') throw new Error(`not a resource scope: ${text}`);
  return scope;
}

describe('parseScope', () => {
  test.each([
    ['patient/Observation.read', 'patient', 'Observation', 'rs', true],
    ['user/Patient.write', 'user', 'Patient', 'cud', true],
    ['system/*.*', 'system', '*', 'cruds', true],
    ['patient/Observation.rs', 'patient', 'Observation', 'rs', false],
    ['system/*.cruds', 'system', '*', 'cruds', false],
    ['user/Encounter.s', 'user', 'Encounter', 's', false],
  ])('%s', (text, level, type, letters, v1) => {
    const scope = resource(text);
    expect(scope).toMatchObject({ text, level, type, v1, criteria: [] });
    expect([...scope.permissions].join('')).toBe(letters);
  });

  test('granular criteria are decoded and kept in order', () => {
    expect(resource('patient/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory').criteria).toEqual([
      ['category', 'http://terminology.hl7.org/CodeSystem/observation-category|laboratory'],
    ]);
    expect(resource('user/Condition.rs?category=a%7Cb&_tag=x').criteria).toEqual([['category', 'a|b'], ['_tag', 'x']]);
  });

  test.each([
    '', 'patient', 'patient/', 'patient/Observation', 'patient/Observation.', 'patient/Observation.sr', 'patient/Observation.rr', 'patient/Observation.readwrite',
    'patient/Nonsense.rs', 'patient/observation.rs', 'Patient/Observation.rs', 'patient/Observation.rs?', 'patient/Observation.rs?category', 'patient/Observation.rs?=x',
    'patient/Observation.rs?category=', 'patient/Observation.rs?category=%zz', 'patient/Observation.read?category=x', 'patient/*.rs?category=x', 'launch/location', 'OpenID',
    'patient/constructor.rs', `patient/Observation.rs?category=${'x'.repeat(600)}`, 'patient/Observation.rs?a=1&b=1&c=1&d=1&e=1&f=1&g=1&h=1&i=1', '*/Observation.rs',
  ])('refuses %j', (text) => {
    expect(parseScope(text)).toBeUndefined();
  });

  test.each([['launch', 'launch'], ['launch/patient', 'launch'], ['launch/encounter', 'launch'], ['openid', 'identity'], ['fhirUser', 'identity'], ['profile', 'identity'], ['offline_access', 'refresh'], ['online_access', 'refresh']])(
    '%s is of kind %s',
    (text, kind) => {
      expect(parseScope(text)?.kind).toBe(kind);
    },
  );
});

describe('covers', () => {
  test.each([
    ['system/*.cruds', 'system/Patient.read', true],
    ['system/*.cruds', 'system/*.*', true],
    ['system/*.rs', 'system/Patient.cruds', false],
    ['system/*.cruds', 'user/Patient.rs', false],
    ['patient/*.rs', 'patient/Observation.rs?category=x', true],
    ['patient/Observation.rs?category=x', 'patient/Observation.rs', false],
    ['patient/Observation.rs?category=x', 'patient/Observation.r?category=x&code=y', true],
    ['patient/Observation.rs?category=x', 'patient/Observation.r?category=y', false],
    ['user/Patient.rs', 'user/*.rs', false],
    ['launch/patient', 'launch/patient', true],
    ['launch', 'launch/patient', false],
    ['offline_access', 'online_access', false],
  ])('%s covers %s: %s', (allowed, requested, expected) => {
    expect(covers(parseScope(allowed)!, parseScope(requested)!)).toBe(expected);
  });

  test('coveredScopes keeps what is covered, verbatim and once', () => {
    const granted = coveredScopes('openid patient/Observation.read patient/Observation.read nonsense system/*.rs patient/Patient.cruds launch/patient', 'openid launch/patient patient/*.rs');
    expect(granted.map((scope) => scope.text)).toEqual(['openid', 'patient/Observation.read', 'launch/patient']);
  });
});
