import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Plan } from '../../../../mappings/engine/plan.ts';
import type { V2Rule } from '../../../../mappings/v2/context.ts';
import { V2Error } from '../../../../mappings/v2/error.ts';
import { mapV2 } from '../../../../mappings/v2/map.ts';
import { messagesIn, parseMessage } from '../../../../mappings/v2/message.ts';
import { orderingKeysOf } from '../../../../mappings/v2/ordering.ts';
import { al1Rules, dg1Rules, iamRules, pr1Rules, prbRules } from '../../../../mappings/v2/resources/clinical.ts';
import { coverageRules } from '../../../../mappings/v2/resources/coverage.ts';
import { encounterRules } from '../../../../mappings/v2/resources/encounter.ts';
import { immunizationRules } from '../../../../mappings/v2/resources/immunization.ts';
import { observationRules, reportRules } from '../../../../mappings/v2/resources/observation.ts';
import { medicationRules, routeRules, serviceRules } from '../../../../mappings/v2/resources/order.ts';
import { patientRules } from '../../../../mappings/v2/resources/patient.ts';
import { guarantorRules, nextOfKinRules } from '../../../../mappings/v2/resources/related-person.ts';
import { tables } from '../../../../mappings/v2/tables/index.ts';
import { definitionOf } from './definitions.ts';
import { validateResource } from '../../../../resources/validate/index.ts';
import { dangling, options } from './support.ts';

const fixtures = new URL('../../../fixtures/hl7v2/', import.meta.url);
const own = readdirSync(fixtures).flatMap((name) => messagesIn(readFileSync(new URL(name, fixtures))));
const shared = new URL('../../../../../shared/data/hl7v2/', import.meta.url).pathname;

/** A plan, or the refusal; anything else that is thrown is a defect. */
function outcomeOf(text: string): Plan | V2Error {
  try {
    const message = parseMessage(text);
    orderingKeysOf(message, options);
    return mapV2(message, options);
  } catch (error) {
    if (error instanceof V2Error) return error;
    throw error;
  }
}

const faults = (plan: Plan): string[] => [
  ...plan.resources.flatMap(({ resource }) => validateResource(resource).map(({ code, expression, detail }) => `${resource.resourceType} ${code} ${expression ?? ''} ${detail ?? ''}`)),
  ...dangling(plan).map((key) => `dangling ${key}`),
  ...plan.resources.filter(({ match }) => match.some(({ system, value }) => system === '' || value === '')).map(({ key }) => `empty match ${key}`),
];

describe('robustness', () => {
  test('every fixture gives a valid plan, the same each time', () => {
    for (const text of own) {
      const plan = outcomeOf(text);
      if (plan instanceof V2Error) throw plan;
      expect(faults(plan)).toEqual([]);
      expect(outcomeOf(text)).toEqual(plan);
    }
  });

  test('damaged messages give a valid plan or a refusal', () => {
    const bits = fc.constantFrom('|', '^', '~', '\\', '&', '\r', '""', 'MSH|', 'PID|1', '\\X', '-', '99999999', '20241345', 'x', '', 'é', '\u0000');
    const edit = fc.record({ at: fc.nat(3000), remove: fc.nat(12), insert: bits });
    fc.assert(fc.property(fc.constantFrom(...own), fc.array(edit, { minLength: 1, maxLength: 8 }), (text, edits) => {
      const damaged = edits.reduce((now, { at, remove, insert }) => now.slice(0, at % (now.length + 1)) + insert + now.slice((at % (now.length + 1)) + remove), text);
      const outcome = outcomeOf(damaged);
      if (!(outcome instanceof V2Error)) expect(faults(outcome)).toEqual([]);
    }), { numRuns: 150 });
  });

  test('damaged fields give a valid plan or a refusal', () => {
    const value = fc.oneof(fc.string(), fc.constantFrom('""', '^^^', '~~', '&', '1^2^3^4&5&ISO', '20240510', '0', '-1', '1e9', 'Y', 'D', '^""^', ' '));
    fc.assert(fc.property(fc.constantFrom(...own), fc.nat(), fc.nat(), value, (text, line, field, put) => {
      const lines = text.split(/[\r\n]+/).filter((one) => one !== '');
      const at = 1 + (line % Math.max(1, lines.length - 1));
      const fields = (lines[at] ?? '').split('|');
      fields[1 + (field % Math.max(1, fields.length - 1))] = put;
      lines[at] = fields.join('|');
      const outcome = outcomeOf(lines.join('\r'));
      if (!(outcome instanceof V2Error)) expect(faults(outcome)).toEqual([]);
    }), { numRuns: 150 });
  });

  test('arbitrary bytes are refused with a code', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      for (const text of messagesIn(bytes)) expect(outcomeOf(text)).toBeInstanceOf(V2Error);
    }), { numRuns: 300 });
  });

  (existsSync(shared) ? test : test.skip)('every message of the public collection (skipped where it is absent)', () => {
    const files = readdirSync(shared, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.hl7'));
    const wrong: string[] = [];
    const counts = { mapped: 0, refused: 0 };
    for (const name of files) {
      for (const text of messagesIn(readFileSync(join(shared, name)))) {
        const outcome = outcomeOf(text);
        if (outcome instanceof V2Error) counts.refused += 1;
        else {
          counts.mapped += 1;
          wrong.push(...faults(outcome).map((fault) => `${name}: ${fault}`));
          if (outcome.resources.length === 0) wrong.push(`${name}: empty plan`);
        }
      }
    }
    expect(wrong).toEqual([]);
    expect(counts.mapped).toBeGreaterThan(200);
  });
});

describe('maps', () => {
  const maps: readonly (readonly [type: string, rules: readonly V2Rule[]])[] = [
    ['Patient', patientRules], ['Encounter', encounterRules], ['RelatedPerson', nextOfKinRules], ['RelatedPerson', guarantorRules], ['Coverage', coverageRules],
    ['AllergyIntolerance', al1Rules], ['AllergyIntolerance', iamRules], ['Condition', dg1Rules], ['Condition', prbRules], ['Procedure', pr1Rules],
    ['Observation', observationRules], ['DiagnosticReport', reportRules], ['MedicationRequest', medicationRules], ['ServiceRequest', serviceRules], ['Immunization', immunizationRules], ['Dosage', routeRules],
  ];

  test.each(maps)('every rule of the map to %s reads a field and names an element of it', (type, rules) => {
    for (const rule of rules) {
      expect(rule.from).toMatch(/^[A-Z][A-Z0-9]{2}-\d+(\.\d+)*$/);
      expect(definitionOf(type, rule.to)).toBe(true);
      if (rule.as === 'code') expect(Object.keys(tables)).toContain(rule.table);
    }
  });
});
