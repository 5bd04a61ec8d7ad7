import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { InterlockError } from '../../../../resources/outcome/error.ts';
import { validateResource } from '../../../../resources/validate/index.ts';
import { fromXml } from '../../../../resources/xml/read.ts';
import { toXml } from '../../../../resources/xml/write.ts';

/** JSON with sorted properties, and numbers as the digits that they were written with. */
function canonical(json: string): string {
  const keep = (_key: string, value: unknown, context?: { source?: string }): unknown => {
    if (typeof value === 'number') return `#${context!.source!}`;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
    return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
  };
  return JSON.stringify(JSON.parse(json, keep));
}

const roundTrip = (json: string, pretty = false): string => fromXml(Buffer.from(toXml(Buffer.from(json), pretty))).toString();
const expectSame = (json: string): void => expect(canonical(roundTrip(json))).toBe(canonical(json));

describe('JSON to XML and back', () => {
  test('keeps digits, nulls, companions, contained resources, choices and narrative', () => {
    const json = `{"resourceType":"Observation","id":"o","meta":{"profile":["http://a","http://b"]},
      "text":{"status":"generated","div":"<div xmlns=\\"http://www.w3.org/1999/xhtml\\"><p class=\\"x\\">a &amp; b &lt; c</p><br/><table><tr><td></td></tr></table></div>"},
      "contained":[{"resourceType":"Patient","id":"p","name":[{"given":["A",null,"C"],"_given":[null,{"extension":[{"url":"http://x","valueBoolean":true}]},{"id":"c"}]}],"_birthDate":{"extension":[{"url":"http://x","valueDecimal":0.010}]}}],
      "status":"final","code":{"id":"e1","text":"a\\tb\\n\\"c\\" <&> é 😀 "},"subject":{"reference":"#p"},"valueQuantity":{"value":1.00,"unit":"mg"},
      "component":[{"code":{"text":"x"},"valueQuantity":{"value":-1.50E+3}},{"code":{"text":"y"},"valueInteger":0}],
      "referenceRange":[{"low":{"value":100000000000000000000.10}}]}`;
    expect(validateResource(JSON.parse(json))).toEqual([]);
    expectSame(json);
    expect(canonical(roundTrip(json, true))).toBe(canonical(json));
  });

  test('of Bundles and Parameters, with resources inside', () => {
    expectSame('{"resourceType":"Bundle","type":"searchset","total":1,"link":[{"relation":"self","url":"https://a?b=c&d=e"}],"entry":[{"fullUrl":"https://a/Patient/1","resource":{"resourceType":"Patient","id":"1","active":true,"multipleBirthInteger":2},"search":{"mode":"match"}}]}');
    expectSame('{"resourceType":"Parameters","parameter":[{"name":"a","resource":{"resourceType":"Patient","id":"1"}},{"name":"b","part":[{"name":"c","valueCode":"d"}]}]}');
  });

  test('has the form that FHIR publishes', () => {
    const xml = toXml(Buffer.from('{"resourceType":"Patient","name":[{"family":"A"}],"id":"1","_active":{"id":"a"},"active":true,"extension":[{"valueCode":"c","url":"http://x"}]}'));
    expect(xml).toBe('<?xml version="1.0" encoding="UTF-8"?>\n<Patient xmlns="http://hl7.org/fhir"><id value="1"/><extension url="http://x"><valueCode value="c"/></extension><active id="a" value="true"/><name><family value="A"/></name></Patient>');
  });

  test('narrative that only HTML understands becomes XML', () => {
    const div = '<div xmlns="http://www.w3.org/1999/xhtml">a&nbsp;b &amp; c & d <!-- e -- f --> &#1; ]]></div>';
    const back = JSON.parse(roundTrip(JSON.stringify({ resourceType: 'Patient', text: { status: 'generated', div } }))) as { text: { div: string } };
    expect(back.text.div).toBe('<div xmlns="http://www.w3.org/1999/xhtml">a\u00a0b &amp; c &amp; d  \ufffd ]]&gt;</div>');
  });

  const shared = join(import.meta.dirname, '../../../../../shared/data/synthea');
  (existsSync(shared) ? test : test.skip)('keeps every resource of the Synthea data', () => {
    let resources = 0;
    for (const file of readdirSync(shared)) {
      const json = readFileSync(join(shared, file), 'utf8');
      expectSame(json);
      resources += (JSON.parse(json) as { entry: unknown[] }).entry.length;
    }
    expect(resources).toBeGreaterThan(1_000);
  }, 120_000);
});

describe('XML is read', () => {
  const read = (content: string): unknown => JSON.parse(fromXml(Buffer.from(content)).toString());
  const open = '<Patient xmlns="http://hl7.org/fhir">';
  const refusal = (content: string | Buffer): { code: string; text: string } => {
    try {
      fromXml(Buffer.from(content));
    } catch (error) {
      if (error instanceof InterlockError) return { code: error.code, text: JSON.stringify(error.options) };
      throw error;
    }
    throw new Error('not refused');
  };

  test('with prefixes, comments, other orders and schema locations', () => {
    expect(read('<?xml version="1.0" encoding="utf-8"?><!-- c --><f:Patient xmlns:f="http://hl7.org/fhir" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="a b"><f:active value="true"/><f:id value="1"/><f:text><h:div xmlns:h="http://www.w3.org/1999/xhtml"><h:p>x<![CDATA[<y>]]></h:p></h:div></f:text></f:Patient>')).toEqual({
      resourceType: 'Patient', id: '1', text: { div: '<div xmlns="http://www.w3.org/1999/xhtml"><p>x&lt;y&gt;</p></div>' }, active: true,
    });
  });

  test('a wrongly written number or boolean is left to validation', () => {
    expect(validateResource(read(`${open}<active value="yes"/><multipleBirthInteger value="01"/></Patient>`))).toHaveLength(2);
  });

  test.each([
    ['external entities', '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><Patient xmlns="http://hl7.org/fhir"><id value="&x;"/></Patient>'],
    ['entities that multiply', `<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">${'bcdefghij'.split('').map((name, at) => `<!ENTITY ${name} "${`&${'abcdefghi'[at]!};`.repeat(10)}">`).join('')}]>${open}<id value="&j;"/></Patient>`],
    ['undeclared entities', `${open}<id value="&x;"/></Patient>`],
    ['other encodings', Buffer.from(`\ufeff<?xml version="1.0" encoding="UTF-16"?>${open}</Patient>`, 'utf16le')],
    ['what is not well-formed', `${open}<id value="secret"></Patient>`],
    ['another namespace', '<Patient xmlns="http://example.org"/>'],
    ['another root', '<Secret xmlns="http://hl7.org/fhir"/>'],
    ['unknown elements', `${open}<secret value="1"/></Patient>`],
    ['elements that only JSON has', `${open}<_birthDate value="1"/></Patient>`],
    ['a second resourceType', `${open}<resourceType value="Observation"/></Patient>`],
    ['unknown attributes', `${open}<id value="1" secret="2"/></Patient>`],
    ['text', `${open}secret</Patient>`],
    ['empty elements', `${open}<active/></Patient>`],
    ['repeats of what cannot repeat', `${open}<active value="true"/><active value="false"/></Patient>`],
    ['two contained resources in one element', `${open}<contained><Patient/><Patient/></contained></Patient>`],
    ['processing instructions', `${open}<?secret ?></Patient>`],
    ['great depth', `${open}${'<extension url="a">'.repeat(400)}${'</extension>'.repeat(400)}</Patient>`],
    ['nothing', ''],
  ])('without %s', (_what, content) => {
    const { code, text } = refusal(content);
    expect(code).toBe('structure-invalid');
    expect(text).not.toMatch(/secret|passwd/i);
  });
});
