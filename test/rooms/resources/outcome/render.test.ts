import { describe, expect, test } from '@jest/globals';
import { catalogue } from '../../../../resources/outcome/catalogue.ts';
import { InterlockError } from '../../../../resources/outcome/error.ts';
import { errorCodeSystem, toOperationOutcome } from '../../../../resources/outcome/render.ts';

// https://hl7.org/fhir/R4/valueset-issue-type.html
const issueTypes = new Set([
  'invalid', 'structure', 'required', 'value', 'invariant', 'security', 'login', 'unknown', 'expired', 'forbidden', 'suppressed', 'processing', 'not-supported', 'duplicate',
  'multiple-matches', 'not-found', 'deleted', 'too-long', 'code-invalid', 'extension', 'too-costly', 'business-rule', 'conflict', 'transient', 'lock-error', 'no-store',
  'exception', 'timeout', 'incomplete', 'throttled', 'informational',
]);

describe('catalogue', () => {
  test.each(Object.entries(catalogue))('%s has a plain name, an error status, an R4 issue type and a sentence', (code, { status, issue, text }) => {
    expect(code).toMatch(/^[a-z]+(-[a-z]+)*$/);
    expect(status).toBeGreaterThanOrEqual(400);
    expect(status).toBeLessThan(600);
    expect(issueTypes).toContain(issue);
    expect(text).toMatch(/^[A-Z].*\.$/);
  });
});

describe('toOperationOutcome', () => {
  test('renders code, text, detail, expression and request id', () => {
    expect(toOperationOutcome(new InterlockError('code-invalid', { expression: 'Patient.gender', detail: 'See the value set.', rule: 'hidden rule' }), 'req-1')).toEqual({
      status: 422,
      outcome: {
        resourceType: 'OperationOutcome',
        issue: [{
          severity: 'error',
          code: 'code-invalid',
          details: { coding: [{ system: errorCodeSystem, code: 'code-invalid' }], text: 'A code is not in the required value set. See the value set.' },
          diagnostics: 'Request id: req-1',
          expression: ['Patient.gender'],
        }],
      },
    });
  });

  test('renders a list of issues under the status of the error that brings it', () => {
    const { status, outcome } = toOperationOutcome(new InterlockError('structure-invalid', { issues: [{ code: 'required-missing', expression: 'Patient.link' }, { code: 'structure-invalid' }] }), 'req-1');
    expect(status).toBe(400);
    expect(outcome.issue.map(({ code, expression, diagnostics }) => ({ code, expression, diagnostics }))).toEqual([
      { code: 'required', expression: ['Patient.link'], diagnostics: 'Request id: req-1' },
      { code: 'structure', expression: undefined, diagnostics: undefined },
    ]);
  });

  test('puts the error\'s own issue before its list if it says something itself', () => {
    const { outcome } = toOperationOutcome(new InterlockError('business-rule', { detail: 'Entry refused.', issues: [{ code: 'code-invalid' }] }));
    expect(outcome.issue.map(({ code }) => code)).toEqual(['business-rule', 'code-invalid']);
  });

  test.each([new Error('Sekret'), new TypeError('Sekret'), 'Sekret', { code: 'forbidden', message: 'Sekret' }, undefined, new InterlockError('internal', { cause: new Error('Sekret') })])('tells nothing of an unexpected error', (thrown) => {
    const { status, outcome } = toOperationOutcome(thrown, 'req-1');
    expect(status).toBe(500);
    expect(outcome.issue).toHaveLength(1);
    expect(outcome.issue[0]).toMatchObject({ severity: 'fatal', code: 'exception' });
    expect(JSON.stringify(outcome)).not.toContain('Sekret');
  });

  test.each(['a b', '<script>', 'x'.repeat(65), ''])('leaves out a request id that is more than letters, digits and hyphens', (requestId) => {
    expect(toOperationOutcome(new InterlockError('not-found'), requestId).outcome.issue[0]).not.toHaveProperty('diagnostics');
  });
});
