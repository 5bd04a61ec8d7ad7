import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ScriptError } from '../../../../mappings/script/error.ts';
import { mapScript, orderingKeysOf } from '../../../../mappings/script/map.ts';
import { readScript } from '../../../../mappings/script/message.ts';
import { parseXml } from '../../../../mappings/script/xml.ts';
import type { Plan, PlannedResource } from '../../../../mappings/engine/plan.ts';
import { validateResource } from '../../../../resources/validate/index.ts';

const fixture = (name: string): string => readFileSync(new URL(`../../../fixtures/script/${name}.xml`, import.meta.url), 'utf8');
const newRx = fixture('new-rx');
const plan = (text: string): Plan => mapScript(readScript(Buffer.from(text)), { channelId: 'script', zone: 'America/Chicago' });
const only = (made: Plan, resourceType: string): PlannedResource => {
  const [one, ...others] = made.resources.filter(({ resource }) => resource.resourceType === resourceType);
  if (one === undefined || others.length > 0) throw new Error(`not exactly one ${resourceType}`);
  return one;
};
const refusal = (work: () => unknown): ScriptError => {
  try {
    work();
  } catch (error) {
    if (error instanceof ScriptError) return error;
    throw error;
  }
  throw new Error('accepted');
};

describe('XML', () => {
  test.each<[string, string | Buffer, RegExp]>([
    ['nothing', '', /empty/],
    ['an external entity', '<!DOCTYPE m [<!ENTITY x SYSTEM "file:///etc/passwd">]><m>&x;</m>', /document type/],
    ['entities that multiply', `<!DOCTYPE m [<!ENTITY a "aaaaaaaaaa">${'bcdefghij'.split('').map((name, n) => `<!ENTITY ${name} "${`&${'abcdefghi'[n] ?? ''};`.repeat(10)}">`).join('')}]><m>&j;</m>`, /document type/],
    ['an external document type', '<!DOCTYPE m SYSTEM "http://192.0.2.1/m.dtd"><m/>', /document type/],
    ['a document type in UTF-16', Buffer.from('\ufeff<!DOCTYPE m [<!ENTITY x "y">]><m>&x;</m>', 'utf16le'), /document type/],
    ['an entity that nobody declared', '<m>&x;</m>', /well-formed|entity/],
    ['inclusion of a file', '<m xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="/etc/passwd" parse="text"/></m>', /Inclusion/],
    ['too many levels', `${'<m>'.repeat(200)}${'</m>'.repeat(200)}`, /levels|well-formed/],
    ['levels that would exhaust a stack', `${'<m>'.repeat(100_000)}${'</m>'.repeat(100_000)}`, /levels|well-formed/],
    ['too many elements', `<m>${'<n/>'.repeat(30_000)}</m>`, /elements/],
    ['a huge attribute', `<m a="${'x'.repeat(500_000)}"/>`, /longer/],
    ['too many attributes', `<m ${Array.from({ length: 500 }, (_, n) => `a${n}="1"`).join(' ')}/>`, /attributes/],
    ['a huge text', `<m>${'x'.repeat(500_000)}</m>`, /longer/],
    ['a huge text in pieces', `<m>${'<![CDATA[xxxxxxxxxx]]>'.repeat(50_000)}</m>`, /longer/],
    ['a NUL byte', '<m>a\0b</m>', /well-formed/],
    ['bytes that are not UTF-8', Buffer.from([0x3c, 0x6d, 0x3e, 0xff, 0xfe, 0x3c, 0x2f, 0x6d, 0x3e]), /encoding|well-formed/],
    ['an encoding that does not exist', '<?xml version="1.0" encoding="X-NONE"?><m/>', /well-formed/],
    ['an element left open', '<m><n></m>', /well-formed/],
    ['two roots', '<m/><m/>', /well-formed/],
  ])('refuses %s', (_what, content, message) => {
    const error = refusal(() => parseXml(Buffer.from(content)));
    expect([error.fault, error.message]).toEqual(['syntax', expect.stringMatching(message)]);
  });

  test.each<[string, Buffer]>([
    ['UTF-8', Buffer.from('<?xml version="1.0" encoding="UTF-8"?><m a="1">J\u00f6rg &amp; <![CDATA[<x>]]></m>')],
    ['Latin-1', Buffer.from('<?xml version="1.0" encoding="ISO-8859-1"?><m a="1">J\u00f6rg &amp; <![CDATA[<x>]]></m>', 'latin1')],
    ['UTF-16', Buffer.from('\ufeff<?xml version="1.0" encoding="UTF-16"?><m a="1">J\u00f6rg &amp; <![CDATA[<x>]]></m>', 'utf16le')],
  ])('reads %s', (_encoding, bytes) => {
    expect(parseXml(bytes)).toMatchObject({ name: 'm', text: 'J\u00f6rg & <x>', attributes: { a: '1' } });
  });
});

describe('NewRx', () => {
  test('makes valid resources', () => {
    for (const name of ['new-rx', 'new-rx-10-6']) for (const { resource } of plan(fixture(name)).resources) expect(validateResource({ ...resource, id: 'x' })).toEqual([]);
  });

  test('maps what was prescribed', () => {
    const { resource, match } = only(plan(newRx), 'MedicationRequest');
    expect(resource).toMatchObject({
      status: 'active', intent: 'order', authoredOn: '2026-03-02', dosageInstruction: [{ text: 'Take 1 tablet by mouth once daily' }], substitution: { allowedBoolean: true },
      medicationCodeableConcept: { text: 'Lisinopril 10 mg oral tablet', coding: [{ system: 'http://www.nlm.nih.gov/research/umls/rxnorm', code: '314076' }, { system: 'http://hl7.org/fhir/sid/ndc', code: '00071015523' }] },
      dispenseRequest: { quantity: { value: 30, unit: 'tablet', code: 'C48542' }, expectedSupplyDuration: { value: 30, code: 'd' }, numberOfRepeatsAllowed: 3 },
      reasonCode: [{ coding: [{ system: 'http://hl7.org/fhir/sid/icd-10-cm', code: 'I10' }], text: 'Essential hypertension' }],
    });
    expect(match).toEqual([{ system: 'urn:interlock:unqualified:script:D:6301875277001:order', value: 'RX-900-17' }]);
  });

  test('reports what it did not map by position, never by content', () => {
    const { unmapped } = plan(newRx);
    expect(unmapped).toContainEqual({ path: 'NewRx/AllergyOrAdverseEvent/NoKnownAllergies', count: 1 });
    expect(JSON.stringify(unmapped)).not.toMatch(/Specimen|77-1/);
  });

  test('is pure', () => {
    expect(plan(newRx)).toEqual(plan(newRx));
  });

  test('a sender\'s record number means nothing at another sender', () => {
    const there = only(plan(newRx.replace('6301875277001', '6301875277002')), 'Patient');
    expect(there.match[0]!.value).toBe('MRN-4711');
    expect(there.match).not.toEqual(only(plan(newRx), 'Patient').match);
  });

  test('a social security number finds a patient but does not change the record', () => {
    const text = newRx.replace(/<MedicalRecord.*EHR>/, '<SocialSecurity>219-09-9999</SocialSecurity>');
    expect(only(plan(text), 'Patient')).toMatchObject({ mode: 'keep', match: [{ system: 'http://hl7.org/fhir/sid/us-ssn', value: '219099999' }] });
    expect(only(plan(text.replace('219-09-9999', '000-00-0000')), 'Patient').match[0]!.system).toBe('urn:interlock:derived:patient');
  });

  test('without any number, people with one name and birth date stay apart, and one prescription keeps its patient', () => {
    const anonymous = newRx.replace(/<Identification><MedicalRecord.*?<\/Identification>/, '');
    const match = (text: string): unknown => only(plan(text), 'Patient').match;
    expect(match(anonymous)).not.toEqual(match(anonymous.replace('RX-900-17', 'RX-900-18')));
    expect(match(anonymous)).toEqual(match(anonymous.replace('a1b2c3d4e5f60001', 'resent')));
  });

  test.each<[string, (text: string) => string, RegExp]>([
    ['no patient', (text) => text.replace(/<Patient>[\s\S]*<\/Patient>/, ''), /Patient/],
    ['no birth date', (text) => text.replace(/<DateOfBirth>.*<\/DateOfBirth>/, ''), /DateOfBirth/],
    ['no prescriber', (text) => text.replace(/<Prescriber>[\s\S]*<\/Prescriber>/, ''), /Prescriber/],
    ['no medication', (text) => text.replace(/<MedicationPrescribed>[\s\S]*<\/MedicationPrescribed>/, ''), /MedicationPrescribed/],
    ['no directions', (text) => text.replace(/<Sig>.*<\/Sig>/, '<Sig/>'), /Sig/],
    ['no quantity', (text) => text.replace('<Value>30</Value>', '<Value/>'), /Quantity/],
    ['a quantity that is no number', (text) => text.replace('<Value>30</Value>', '<Value>thirty</Value>'), /Quantity/],
    ['a negative quantity', (text) => text.replace('<Value>30</Value>', '<Value>-30</Value>'), /Quantity/],
    ['refills beyond reason', (text) => text.replace('<NumberOfRefills>3', '<NumberOfRefills>1000'), /NumberOfRefills/],
    ['a day that does not exist', (text) => text.replace('<WrittenDate><Date>2026-03-02', '<WrittenDate><Date>2026-02-30'), /WrittenDate/],
    ['a sending time without time', (text) => text.replace('2026-03-02T15:04:05.120Z', '2026-03-02'), /SentTime/],
    ['no sender', (text) => text.replace(/<From.*<\/From>/, ''), /From/],
    ['no message id', (text) => text.replace(/<MessageID>.*<\/MessageID>/, ''), /MessageID/],
    ['two headers', (text) => text.replace('<Body>', '<Header/><Body>'), /Header/],
  ])('refuses %s, naming the place and no content', (_what, change, place) => {
    const error = refusal(() => plan(change(newRx)));
    expect([error.fault, error.path]).toEqual(['content', expect.stringMatching(place)]);
    expect(error.message).not.toMatch(/Specimen|thirty|-30|1000|2026/);
  });

  test('refuses other transactions as unsupported', () => {
    expect(refusal(() => plan(newRx.replaceAll('NewRx>', 'RxFill>'))).fault).toBe('unsupported');
    expect(refusal(() => plan(newRx.replace('<Message ', '<Message xmlns="urn:other" '))).fault).toBe('unsupported');
  });
});

describe('CancelRx', () => {
  const cancel = fixture('cancel-rx');

  test('changes the state of a prescription that is on record, and nothing else', () => {
    const { resources } = plan(cancel);
    expect(resources).toEqual([{
      key: 'medicationRequest', resource: { resourceType: 'MedicationRequest', status: 'cancelled' }, mode: 'merge', clear: [], createIfAbsent: false,
      match: [{ system: 'urn:interlock:unqualified:script:D:6301875277001:order', value: 'RX-900-17' }, { system: 'urn:interlock:unqualified:script:D:6301875277001:message', value: 'a1b2c3d4e5f60001' }],
    }]);
    expect(plan(cancel.replace('Flag>C<', 'Flag>D<')).resources[0]!.resource.status).toBe('stopped');
  });

  test('that names no prescription is refused', () => {
    expect(refusal(() => plan(cancel.replace(/<RelatesTo.*>/, '').replace(/<PrescriberOrder.*>/, ''))).fault).toBe('content');
  });

  test('stays in order with its prescription, by order number or by message', () => {
    const keys = (text: string): string[] => orderingKeysOf(readScript(Buffer.from(text)), 'script');
    const shared = (a: string[], b: string[]): number => a.filter((key) => b.includes(key)).length;
    expect(shared(keys(newRx), keys(cancel.replace(/<RelatesTo.*>/, '')))).toBe(1);
    expect(shared(keys(newRx), keys(cancel.replace(/<PrescriberOrder.*>/, '')))).toBe(1);
    expect(shared(keys(newRx), keys(cancel.replaceAll('6301875277001', '1')))).toBe(0);
  });
});

describe('whatever arrives', () => {
  const reads = (bytes: Buffer): void => {
    try {
      mapScript(readScript(bytes), { channelId: 'script', zone: 'UTC' });
    } catch (error) {
      if (!(error instanceof ScriptError)) throw error;
    }
  };

  test('bytes are read or refused, nothing else', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => reads(Buffer.from(bytes))), { numRuns: 500 });
  });

  test('so are prescriptions with damage', () => {
    const damage = fc.array(fc.record({ at: fc.nat(newRx.length - 1), length: fc.nat(60), put: fc.oneof(fc.string({ maxLength: 20 }), fc.constantFrom('<', '>', '&', ']]>', '<!--', '<?x', '"', '\0', '<a/>', '&#0;', '&#xD800;')) }), { minLength: 1, maxLength: 4 });
    fc.assert(fc.property(damage, (changes) => {
      let text = newRx;
      for (const { at, length, put } of changes) text = text.slice(0, at) + put + text.slice(at + length);
      reads(Buffer.from(text));
    }), { numRuns: 1_000 });
  });

  test('so are values of every kind at every place', () => {
    const places = [...newRx.matchAll(/>([^<>\n]+)</g)].map(({ index, 1: value = '' }) => ({ at: index + 1, length: value.length }));
    fc.assert(fc.property(fc.constantFrom(...places), fc.oneof(fc.string({ unit: 'binary', maxLength: 50 }), fc.constantFrom('', '0', '-1', '1e999', '__proto__', 'constructor', '9'.repeat(400))), ({ at, length }, value) => {
      const escaped = value.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
      const text = newRx.slice(0, at) + escaped + newRx.slice(at + length);
      reads(Buffer.from(text));
    }), { numRuns: 300 });
  });
});
