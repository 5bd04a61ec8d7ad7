import { describe, expect, test } from '@jest/globals';
import { permitted, reachableTypes, reachOf } from '../../../server/access/decide.ts';
import { contextFromToken, contextOfPartner } from '../../../server/access/grants.ts';
import type { AccessContext, Permission, TokenFacts } from '../../../server/access/context.ts';
import { InterlockError } from '../../../resources/outcome/error.ts';

const expiresAtMs = Date.now() + 60_000;

function context(token: Omit<TokenFacts, 'clientId' | 'expiresAtMs'>): AccessContext {
  return contextFromToken({ clientId: 'app', expiresAtMs, ...token }, { requestId: 'r-1' });
}

function reach(of: AccessContext, type: string, permission: Permission): string {
  try {
    const found = reachOf(of, type, [permission]);
    return found.unlimited ? 'all' : JSON.stringify(found.criterion);
  } catch (error) {
    return error instanceof InterlockError ? error.code : 'unexpected';
  }
}

const user = (role: string, fhirUser?: string) => ({ id: `user-${role}`, username: role, role, ...(fhirUser === undefined ? {} : { fhirUser }) });

describe('backend services', () => {
  test('a system scope gives what it says and nothing else', () => {
    const of = context({ scope: 'system/Observation.rs system/Patient.read' });
    expect([reach(of, 'Observation', 'r'), reach(of, 'Observation', 's'), reach(of, 'Observation', 'u'), reach(of, 'Patient', 's'), reach(of, 'Encounter', 'r')]).toEqual(['all', 'all', 'forbidden', 'all', 'forbidden']);
  });

  test('patient and user scopes give a client without a person nothing', () => {
    const of = context({ scope: 'patient/*.cruds user/*.cruds' });
    expect(reachableTypes(of, ['r', 's', 'c', 'u', 'd'])).toEqual([]);
  });

  test('a granular scope limits by its criteria; several add up', () => {
    const of = context({ scope: 'system/Observation.rs?category=laboratory system/Observation.rs?category=vital-signs' });
    const found = reachOf(of, 'Observation', ['s']);
    expect(found.unlimited).toBe(false);
    expect(JSON.stringify(found)).toContain('laboratory');
    expect(JSON.stringify(found)).toContain('vital-signs');
  });

  test('criteria that cannot be understood close the type', () => {
    expect(reach(context({ scope: 'system/Observation.rs?no-such-parameter=x' }), 'Observation', 'r')).toBe('forbidden');
  });
});

describe('people', () => {
  test('a patient reaches the own compartment only, whatever the level of the scope', () => {
    const inCompartment = JSON.stringify({ op: 'any', of: [{ op: 'all', of: [{ op: 'compartment', type: 'Patient', ids: ['p1'] }] }] });
    for (const scope of ['patient/*.rs', 'user/*.rs']) {
      const of = context({ scope, user: user('patient', 'Patient/p1') });
      expect([reach(of, 'Observation', 'r'), reach(of, 'Patient', 's'), reach(of, 'Observation', 'c'), reach(of, 'AuditEvent', 'r')]).toEqual([inCompartment, inCompartment, 'forbidden', 'forbidden']);
      expect(reach(of, 'Practitioner', 'r')).toBe('all');
    }
  });

  test('a patient cannot be launched into the record of another', () => {
    const of = context({ scope: 'patient/*.rs', user: user('patient', 'Patient/p1'), launch: { patient: 'p2' } });
    expect(reachableTypes(of, ['r', 's'])).toEqual([]);
  });

  test('a clinician with a patient scope is confined to the patient of the launch', () => {
    const of = context({ scope: 'patient/Observation.rs', user: user('physician', 'Practitioner/d1'), launch: { patient: 'p2' } });
    expect(reach(of, 'Observation', 'r')).toContain('"p2"');
    expect(reach(of, 'Patient', 'r')).toBe('forbidden');
    const without = context({ scope: 'patient/Observation.rs', user: user('physician', 'Practitioner/d1') });
    expect(reach(without, 'Observation', 'r')).toBe('forbidden');
  });

  test('the role narrows the scope', () => {
    const nurse = context({ scope: 'user/*.cruds', user: user('nurse') });
    expect([reach(nurse, 'Observation', 'u'), reach(nurse, 'Observation', 'd'), reach(nurse, 'Claim', 'r')]).toEqual(['all', 'forbidden', 'forbidden']);
    const billing = context({ scope: 'user/*.cruds', user: user('billing') });
    expect([reach(billing, 'Claim', 'c'), reach(billing, 'DocumentReference', 'r'), reach(billing, 'Observation', 's')]).toEqual(['all', 'forbidden', 'forbidden']);
  });

  test('only auditors read the trail, and auditors read nothing else', () => {
    const auditor = context({ scope: 'user/*.cruds', user: user('auditor') });
    expect(reachableTypes(auditor, ['r'])).toEqual(['AuditEvent']);
    expect(reach(auditor, 'AuditEvent', 's')).toBe('all');
    for (const role of ['physician', 'nurse', 'billing', 'pharmacist', 'security-admin', 'integration-admin']) {
      expect(reach(context({ scope: 'user/*.cruds', user: user(role) }), 'AuditEvent', 'r')).toBe('forbidden');
    }
  });

  test('administrators read no patient data', () => {
    for (const role of ['security-admin', 'integration-admin']) expect(reachableTypes(context({ scope: 'user/*.cruds', user: user(role) }), ['r', 's', 'c', 'u', 'd'])).toEqual([]);
  });

  test('a system scope gives a person nothing: it would step around the role', () => {
    expect(reach(context({ scope: 'system/*.cruds', user: user('physician') }), 'Patient', 'r')).toBe('forbidden');
  });
});

describe('partners', () => {
  test('a channel writes and looks up, deletes nothing and does not touch the trail', () => {
    const of = contextOfPartner('lab', { requestId: 'm-1' });
    expect([reach(of, 'Patient', 'c'), reach(of, 'Patient', 's'), reach(of, 'Patient', 'd'), reach(of, 'AuditEvent', 'c')]).toEqual(['all', 'all', 'forbidden', 'forbidden']);
  });
});

test('a search over several types limits each by its own reach', () => {
  const of = context({ scope: 'patient/Observation.rs patient/Practitioner.rs', user: user('patient', 'Patient/p1') });
  const filter = JSON.stringify(permitted(of, ['Observation', 'Practitioner'], { op: 'all', of: [] }));
  expect(filter).toContain('"op":"compartment"');
  expect(filter).toContain('{"op":"type","types":["Practitioner"]}');
  expect(() => permitted(of, ['Observation', 'Condition'], { op: 'all', of: [] })).toThrow(InterlockError);
});
