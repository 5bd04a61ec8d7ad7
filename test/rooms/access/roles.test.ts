import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, test } from '@jest/globals';
import { explain } from '../../../server/access/explain.ts';
import { contextFromToken } from '../../../server/access/grants.ts';
import { reachOf } from '../../../server/access/decide.ts';
import { rolesFrom } from '../../../server/access/roles-file.ts';
import { assertSeparateDuties, roleNames, roleOf, setCustomRoles } from '../../../server/access/roles.ts';
import { InterlockError } from '../../../resources/outcome/error.ts';
import { personToken } from './support.ts';

afterAll(() => setCustomRoles({}));

const file = (rows: unknown, name = 'ward') => ({ roles: { [name]: { summary: 'x', purposes: ['TREAT'], rows } } });

function mistake(json: unknown): string {
  try {
    rolesFrom(json);
    return '';
  } catch (error) {
    return error instanceof InterlockError ? error.message : 'unexpected';
  }
}

describe('roles from a file', () => {
  test('each mistake is told by its place', () => {
    const cases: readonly (readonly [unknown, RegExp])[] = [
      [file([{ types: ['Patien'], interactions: 'rs' }]), /rows\[0\]/], [file([{ types: '*', interactions: 'sr' }]), /interactions/], [file([{ types: ['Patient'], interactions: 'rs', masks: ['nothing'] }]), /no element nothing/],
      [file([{ types: ['Observation'], interactions: 'rs', masks: ['status'] }]), /mandatory/], [file([{ types: ['AuditEvent', 'Patient'], interactions: 'rs' }]), /reads no patient data/], [file([{ types: ['AuditEvent'], interactions: 'cr' }]), /audit trail/],
      [file([], 'auditor'), /cannot be replaced/], [file([{ types: '*', interactions: 'rs', purposes: ['HPAYMT'] }]), /not among/], [file([{ types: '*', interactions: 'rs', color: 'red' }]), /color/], [{ rules: {} }, /roles/], [file([{ types: '*', interactions: 'rs', masks: ['telecom'] }]), /name their types/],
    ];
    for (const [json, expected] of cases) expect(mistake(json)).toMatch(expected);
    expect(mistake(file([{ types: ['Patient'], interactions: 'rs', compartment: 'care', masks: ['telecom', 'deceased[x]'] }]))).toBe('');
  });
});

test('nobody gives themself a role that reads patient data', () => {
  expect(() => assertSeparateDuties('operator:ada', 'Ada', 'physician')).toThrow(InterlockError);
  for (const [name, role] of [['grace', 'physician'], ['ada', 'security-admin']] as const) expect(() => assertSeparateDuties('operator:ada', name, role)).not.toThrow();
});

describe('refusals name their rule', () => {
  const ruleOf = (...[role, scope, purposeOfUse]: readonly [string, string, string?]): string => {
    try {
      reachOf(contextFromToken(personToken(role, scope), { requestId: 'r', ...(purposeOfUse === undefined ? {} : { purposeOfUse: [purposeOfUse] }) }), 'Observation', ['r']);
      return '';
    } catch (error) {
      return (error as InterlockError).options.rule ?? 'none';
    }
  };

  test('scope, role, purpose and compartment', () => {
    expect(ruleOf('physician', 'user/Patient.rs')).toBe('scope: no r on Observation');
    expect(ruleOf('physician', 'system/*.rs')).toMatch(/^scope: system/);
    expect(ruleOf('billing', 'user/*.rs')).toBe('role: billing has no r on Observation');
    expect(ruleOf('physician', 'user/*.rs', 'HRESCH')).toMatch(/^purpose: physician/);
    expect(ruleOf('physician', 'patient/*.rs')).toMatch(/^compartment:/);
    expect(ruleOf('patient', 'user/*.rs')).toMatch(/^compartment: patient/);
  });

  test('and are explained', () => {
    const record = { at: 0, kind: 'rest', interaction: 'read', action: 'R', outcome: '4', error: 'forbidden', rule: 'role: billing has no r on Observation', requestId: 'r', actor: { kind: 'user', id: 'u', role: 'billing' } } as const;
    expect(explain(record)).toMatchObject({ outcome: 'refused', kind: 'role', rule: record.rule });
    for (const rule of ['scope: x', 'compartment: x', 'mask: x', 'consent: x', 'break-glass: x', 'partner: x', 'time: x', 'client: x', 'token in the query', 'cursor of another principal, or damaged']) expect(explain({ ...record, rule }).permits).toBeDefined();
  });
});

test('the documented table of roles is what they are', () => {
  const page = readFileSync('docs/compliance/access.md', 'utf8');
  setCustomRoles({});
  for (const name of roleNames()) {
    const { purposes, rows } = roleOf(name)!;
    const told = rows.map(({ types, interactions, compartment, masks }) => `${types === '*' ? 'every other type' : types.join(', ')}: ${interactions || 'nothing'}${compartment === 'self' ? ' (own record)' : ''}${masks === undefined ? '' : ` (without ${masks.join(', ')})`}`);
    expect(page).toContain(`| ${name} | ${purposes.join(', ')} | ${told.join('; ') || 'nothing'} |`);
  }
});
