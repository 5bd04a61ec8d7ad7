import { describe, expect, test } from '@jest/globals';
import { resourceTypes, searchParamsOf } from '../../../resources/definitions/index.ts';
import { extractSearchValues, type SearchValue } from '../../../resources/search-values/index.ts';
import { columnOf, decodeColumns, encodeColumns, hasColumn } from '../../../server/storage/columns.ts';
import { generate, Random } from './generated.ts';

describe('columns', () => {
  test('of one type never share a number', () => {
    for (const type of resourceTypes()) {
      const codes = [...searchParamsOf(type).keys()];
      expect(new Set(codes.map(columnOf)).size).toBe(codes.length);
      expect(codes.map(columnOf)).not.toContain(0);
    }
  });

  test('give back what went in, or say that it is not all there', () => {
    const random = new Random(5);
    let whole = 0;
    for (let round = 0; round < 300; round += 1) {
      const resource = generate(random);
      const params = searchParamsOf(resource.resourceType);
      const values = extractSearchValues({ ...resource, id: `r${round}` });
      const bytes = encodeColumns(`r${round}`, params, values);
      expect(bytes.length % 32).toBe(0);
      const opened = decodeColumns(bytes, new Map([...params.keys()].map((code) => [columnOf(code), code])));
      expect(opened.id).toBe(`r${round}`);
      expect([...opened.values.keys()].sort()).toEqual([...values.keys()].sort());
      for (const [code, found] of values) {
        if (opened.partial.has(code)) continue;
        const plain = found.map((value): SearchValue => (value.kind === 'string' ? { kind: 'string', value: value.value } : value));
        expect(hasColumn(params.get(code)!)).toBe(true);
        expect(opened.values.get(code)!.length).toBe(plain.length);
        if (params.get(code)!.type === 'date') expect(opened.values.get(code)).toEqual(plain);
        if (params.get(code)!.type === 'token') expect(opened.values.get(code)).toEqual(plain.map((value) => ({ ...value, text: undefined })).map(({ text: _text, ...rest }) => rest));
        whole += 1;
      }
    }
    expect(whole).toBeGreaterThan(500);
  });

  test('say so when a text is too long or values are too many', () => {
    const params = searchParamsOf('Patient');
    const opened = (values: SearchValue[], code: string) => decodeColumns(encodeColumns('a', params, new Map([[code, values]])), new Map([[columnOf(code), code]]));
    const text = (value: string): SearchValue => ({ kind: 'string', value });
    expect(opened([text('x'.repeat(64))], 'family').partial.size).toBe(0);
    expect(opened([text('x'.repeat(65))], 'family').partial.has('family')).toBe(true);
    expect(opened([text('日'.repeat(22))], 'family').partial.has('family')).toBe(true);
    expect(opened([text('日'.repeat(21))], 'family').values.get('family')).toEqual([text('日'.repeat(21))]);
    expect(opened(Array.from({ length: 9 }, () => text('a')), 'family').partial.has('family')).toBe(true);
  });
});
