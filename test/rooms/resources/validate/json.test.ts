import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { InterlockError } from '../../../../resources/outcome/error.ts';
import { parseResource } from '../../../../resources/validate/json.ts';
import { entryResourceBytes, rewriteStrings, withMeta } from '../../../../resources/validate/splice.ts';

const limits = { maxBytes: 100_000 };
const parse = (text: string | Buffer) => parseResource(Buffer.from(text as string), limits);
const refusal = (text: string | Buffer): { code: string; message: string } => {
  try {
    parse(text);
  } catch (error) {
    if (error instanceof InterlockError) return { code: error.code, message: error.message };
    throw error;
  }
  return { code: 'accepted', message: '' };
};

describe('parseResource', () => {
  test.each([
    ['a property twice', '{"resourceType":"Patient","gender":"male","gender":"female"}'],
    ['a property twice, deep inside', '{"resourceType":"Patient","name":[{"family":"A"},{"family":"B","given":["C"],"family":"D"}]}'],
    ['a property twice, after nested objects', '{"resourceType":"Patient","a":{"b":[{"c":1}]},"d":2,"a":3}'],
    ['a name written with an escape', '{"resourceType":"Patient","gend\\u0065r":"male"}'],
    ['not JSON', '{"resourceType":"Patient",}'],
    ['cut off', '{"resourceType":"Patient","na'],
    ['an array', '[{"resourceType":"Patient"}]'],
    ['no resourceType', '{"id":"a"}'],
    ['a resourceType that is no string', '{"resourceType":1}'],
    ['nothing', ''],
    ['not UTF-8', Buffer.concat([Buffer.from('{"resourceType":"'), Buffer.from([0xff, 0xfe]), Buffer.from('"}')])],
    ['a byte order mark', '\ufeff{"resourceType":"Patient"}'],
    ['65 levels', `{"resourceType":"Patient","a":${'['.repeat(64)}${']'.repeat(64)}}`],
    ['a million levels', '['.repeat(99_000)],
    ['257 properties', `{"resourceType":"Patient"${Array.from({ length: 256 }, (_, i) => `,"p${i}":1`).join('')}}`],
    ['only closing brackets', ']]]]}}}'],
  ])('refuses %s', (_what, text) => {
    expect(refusal(text).code).toBe('structure-invalid');
  });

  test('refuses more bytes than the limit', () => {
    expect(refusal(`{"resourceType":"Patient","id":"${'a'.repeat(100_000)}"}`).code).toBe('too-large');
  });

  test.each(['{"resourceType":"Patient","family":"Sekret"!}', '{"resourceType":"Sekret","Sekret":1,"Sekret":2}'])('tells nothing of the content', (text) => {
    expect(refusal(text).message).not.toContain('Sekret');
  });

  test.each([
    ['64 levels', `{"resourceType":"Patient","a":${'['.repeat(63)}${']'.repeat(63)}}`],
    ['the same property in siblings', '{"resourceType":"Patient","a":[{"b":1},{"b":2}],"c":{"b":{"b":1}}}'],
    ['names with the same sum', '{"resourceType":"Patient","Aa":1,"BB":2}'],
    ['line breaks, quotes and letters of any script', '{"resourceType":"Patient","text":"a\\nb\\t\\"\\\\ \\u00e9 é 漢 😀"}'],
    ['strings that look like structure', '{"resourceType":"Patient","a":"{\\"a\\":1,\\"a\\":2}","b":"[[[[{{{{"}'],
  ])('accepts %s', (_what, text) => {
    expect(parse(text)).toEqual(JSON.parse(text));
  });

  test('refuses exactly the texts in which some object has a name twice', () => {
    type Sample = readonly [text: string, twice: boolean];
    const name = fc.constantFrom('a', 'b', 'Aa', 'BB', 'C#');
    const { any } = fc.letrec<{ any: Sample }>((tie) => {
      const scalar = fc.constantFrom<Sample>(['1', false], ['"a,{\\""', false], ['null', false], ['[]', false]);
      const array = fc.array(tie('any'), { maxLength: 3 }).map((items): Sample => [`[${items.map(([text]) => text).join(',')}]`, items.some(([, twice]) => twice)]);
      const object = fc.array(fc.tuple(name, tie('any')), { maxLength: 4 }).map((members): Sample => [
        `{${members.map(([one, [text]]) => `"${one}" : ${text}`).join(' , ')}}`,
        new Set(members.map(([one]) => one)).size < members.length || members.some(([, [, twice]]) => twice),
      ]);
      return { any: fc.oneof({ maxDepth: 4 }, scalar, array, object) };
    });
    let refused = 0;
    fc.assert(fc.property(any, ([text, twice]) => {
      if (twice) refused += 1;
      expect(refusal(`{"resourceType":"Patient","x":${text}}`).code).toBe(twice ? 'structure-invalid' : 'accepted');
    }), { numRuns: 1_000 });
    expect(refused).toBeGreaterThan(50);
  });
});

describe('withMeta', () => {
  const meta = { id: 'abc', versionId: 3, lastUpdated: new Date('2026-01-02T03:04:05.678Z') };
  const set = (text: string) => withMeta(Buffer.from(text), meta).toString();

  test('adds what is missing after resourceType', () => {
    expect(set('{"resourceType":"Patient","active":true}')).toBe('{"resourceType":"Patient","id":"abc","meta":{"versionId":"3","lastUpdated":"2026-01-02T03:04:05.678Z"},"active":true}');
  });

  test('replaces in place and keeps every other byte', () => {
    expect(set(' { "meta" : { "tag":[{"code":"x"}], "versionId" : "1" } ,\n "value": 1.00, "id":"old" ,"resourceType":"Patient" } '))
      .toBe(' { "meta" : {"lastUpdated":"2026-01-02T03:04:05.678Z", "tag":[{"code":"x"}], "versionId" : "3" } ,\n "value": 1.00, "id":"abc" ,"resourceType":"Patient" } ');
  });

  test('does not touch ids and metas further inside', () => {
    const inner = '"contained":[{"resourceType":"Patient","id":"p","meta":{"versionId":"7"}}]';
    expect(set(`{"resourceType":"Patient",${inner}}`)).toContain(inner);
  });

  test('equals setting the members on the parsed resource, whatever the order, spacing and neighbours; numbers stay as written', () => {
    const space = fc.constantFrom('', ' ', '\n\t', '\r\n');
    const string = fc.string({ unit: 'binary' }).map((text) => JSON.stringify(text));
    const number = fc.constantFrom('1.00', '0.10', '-2.50e-3', '1E5', '9007199254740993.0', '0');
    const { any } = fc.letrec<{ any: string }>((tie) => ({
      any: fc.oneof({ maxDepth: 3 }, string, number, fc.constantFrom('true', 'null', '{}', '[]', '"\\\\"', '"\\""'),
        fc.tuple(space, fc.array(tie('any'), { maxLength: 3 })).map(([gap, items]) => `[${gap}${items.join(`${gap},`)}${gap}]`),
        fc.tuple(space, fc.dictionary(fc.constantFrom('id', 'meta', 'x', 'y'), tie('any'), { maxKeys: 3 })).map(([gap, members]) => `{${gap}${Object.entries(members).map(([name, text]) => `"${name}"${gap}:${text}`).join(`,${gap}`)}}`)),
    }));
    const object = (members: readonly (readonly [string, string])[], gap: string) => `{${gap}${members.map(([name, text]) => `${gap}"${name}"${gap}:${gap}${text}`).join(`${gap},`)}${gap}}`;
    const some = (names: readonly string[], value: fc.Arbitrary<string>) => fc.shuffledSubarray([...names]).chain((chosen) => fc.tuple(...chosen.map((name) => fc.tuple(fc.constant(name), value))));
    const metaText = fc.tuple(some(['versionId', 'lastUpdated', 'tag', 'source'], any), space).map(([members, gap]) => object(members, gap));
    const resource = fc.tuple(some(['active', 'valueDecimal', 'name'], any), fc.option(string), fc.option(metaText), space, fc.nat(), fc.nat(), fc.nat()).map(([others, id, oldMeta, gap, ...places]) => {
      const members: (readonly [string, string])[] = [...others];
      const own = [['resourceType', '"Observation"'], ...(id === null ? [] : [['id', id]]), ...(oldMeta === null ? [] : [['meta', oldMeta]])] as [string, string][];
      own.forEach((member, index) => members.splice((places[index] ?? 0) % (members.length + 1), 0, member));
      return gap + object(members, gap) + gap;
    });
    const verbatim = (text: string): unknown => JSON.parse(text, ((_name: string, value: unknown, context: { source?: string }) => (typeof value === 'number' ? { number: context.source } : value)) as (name: string, value: unknown) => unknown);
    fc.assert(fc.property(resource, (text) => {
      const expected = verbatim(text) as Record<string, unknown>;
      expected['id'] = 'abc';
      expected['meta'] = { ...(expected['meta'] as object | undefined), versionId: '3', lastUpdated: '2026-01-02T03:04:05.678Z' };
      const result = set(text);
      expect(verbatim(result)).toEqual(expected);
      // Setting the same again changes nothing, so all that differs from the input is what was set.
      expect(set(result)).toBe(result);
    }), { numRuns: 1_000 });
  });
});

describe('entryResourceBytes', () => {
  test('gives each entry its own bytes', () => {
    const bundle = '{"resourceType":"Bundle","type":"transaction","entry" : [ {"fullUrl":"urn:uuid:1","resource": {"resourceType":"Observation","value":1.00} , "request":{}} ,{"request":{"method":"DELETE"}},{"resource":{"resourceType":"Bundle","entry":[{"resource":{}}]}}]}';
    expect(entryResourceBytes(Buffer.from(bundle)).map((bytes) => bytes?.toString())).toEqual(['{"resourceType":"Observation","value":1.00}', undefined, '{"resourceType":"Bundle","entry":[{"resource":{}}]}']);
  });

  test('gives nothing for a Bundle without entries', () => {
    expect(entryResourceBytes(Buffer.from('{"resourceType":"Bundle"}'))).toEqual([]);
    expect(entryResourceBytes(Buffer.from('{"resourceType":"Bundle","entry":[ ]}'))).toEqual([]);
  });
});

describe('rewriteStrings', () => {
  test('replaces the strings it is told to, by the name of their property, and keeps the rest', () => {
    const text = '{ "subject":{"reference":"urn:uuid:\\u0031"}, "value": 1.00, "urn:uuid:1":"x", "list":["urn:uuid:1", 2.50]}';
    const seen: string[] = [];
    const result = rewriteStrings(Buffer.from(text), (name, value) => {
      seen.push(name);
      return value === 'urn:uuid:1' ? 'Patient/"1"' : undefined;
    });
    expect(result.toString()).toBe('{ "subject":{"reference":"Patient/\\"1\\""}, "value": 1.00, "urn:uuid:1":"x", "list":["Patient/\\"1\\"", 2.50]}');
    expect(seen).toEqual(['reference', 'urn:uuid:1', 'list']);
  });
});
