import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { setTimeout as pause } from 'node:timers/promises';
import { patient } from '../storage/support.ts';
import { grant, testFhir, type TestFhir } from './support.ts';

const all = [grant('*', 'cruds')];

let fhir: TestFhir;
/** When each step had happened. */
const at: string[] = [];

beforeAll(async () => {
  fhir = await testFhir();
  const steps = [
    () => fhir.on.put(patient(), 'kept'),
    () => fhir.on.put(patient(), 'changed'),
    () => fhir.on.put(patient({ active: true }), 'changed'),
    () => fhir.on.put(patient(), 'deleted'),
    () => fhir.on.remove('Patient', 'deleted'),
    () => fhir.on.put(patient({ active: false }), 'changed'),
  ];
  for (const step of steps) {
    await step();
    await pause(3);
    at.push(new Date().toISOString());
    await pause(3);
  }
});
afterAll(() => fhir.close());

interface Entry { readonly fullUrl: string; readonly response: { readonly etag: string; readonly lastModified: string }; readonly request: { readonly method: string }; readonly resource?: unknown }

async function page(url: string, prefer?: string): Promise<{ versions: string[]; entries: readonly Entry[]; next?: string }> {
  const { status, json } = await fhir.call(all, 'GET', url, undefined, prefer === undefined ? {} : { prefer });
  expect(status).toBe(200);
  const { entry = [], link } = json as { entry?: Entry[]; link: { relation: string; url: string }[] };
  const next = link.find(({ relation }) => relation === 'next')?.url.replace(`${fhir.services.baseUrl}/`, '');
  return { versions: entry.map(({ fullUrl, response }) => `${fullUrl.split('/').at(-1)!} ${response.etag}`), entries: entry, ...(next === undefined ? {} : { next }) };
}

/** Name and version, newest first. */
const is = (...versions: [string, number][]) => versions.map(([name, version]) => `${name} W/"${version}"`);

test('_at gives what was current then', async () => {
  for (const url of ['Patient/_history', '_history']) {
    expect((await page(`${url}?_at=${at[0]!}`)).versions).toEqual(is(['kept', 1]));
    expect((await page(`${url}?_at=${at[2]!}`)).versions).toEqual(is(['changed', 2], ['kept', 1]));
    expect((await page(`${url}?_at=${at[3]!}`)).versions).toEqual(is(['deleted', 1], ['changed', 2], ['kept', 1]));
    // What was deleted by then had no current version.
    expect((await page(`${url}?_at=${at[4]!}`)).versions).toEqual(is(['changed', 2], ['kept', 1]));
    expect((await page(`${url}?_at=${at[5]!}`)).versions).toEqual(is(['changed', 3], ['kept', 1]));
  }
  expect((await page(`Patient/changed/_history?_at=${at[2]!}`)).versions).toEqual(is(['changed', 2]));
  expect((await page(`Patient/changed/_history?_at=${at[0]!}`)).versions).toEqual([]);
  expect((await page(`Patient/changed/_history?_at=${at[1]!}`)).versions).toEqual(is(['changed', 1]));
});

test('_at of a period gives all that was current in it', async () => {
  const everything = is(['changed', 3], ['deleted', 2], ['deleted', 1], ['changed', 2], ['changed', 1], ['kept', 1]);
  expect((await page(`_history?_at=${at[0]!.slice(0, 4)}`)).versions).toEqual(everything);
  expect((await page('_history?_at=2001-05')).versions).toEqual([]);
  expect((await page(`Patient/_history?_at=${at[3]!.slice(0, 10)}`)).versions).toEqual(everything);
});

test('_at is paged by what it gives', async () => {
  const first = await page(`Patient/_history?_at=${at[3]!}&_count=2`);
  expect(first.versions).toEqual(is(['deleted', 1], ['changed', 2]));
  expect((await page(first.next!)).versions).toEqual(is(['kept', 1]));
  expect((await page(first.next!)).next).toBeUndefined();
});

test('_since takes all precisions, and entries tell what happened', async () => {
  expect((await page(`Patient/_history?_since=${at[3]!}`)).versions).toEqual(is(['changed', 3], ['deleted', 2]));
  expect((await page(`Patient/_history?_since=${encodeURIComponent(at[3]!.replace('Z', '+00:00'))}`)).versions).toHaveLength(2);
  expect((await page('Patient/_history?_since=2001')).versions).toHaveLength(6);
  const { entries } = await page(`Patient/_history?_since=${at[3]!}`);
  expect(entries[1]).toMatchObject({ request: { method: 'DELETE', url: 'Patient/deleted' }, response: { status: '204', etag: 'W/"2"', lastModified: expect.any(String) } });
  expect(entries[1]!.resource).toBeUndefined();
});

test('what is no time, order or count is refused; what is unknown only where the caller wants to be told', async () => {
  for (const query of ['_since=yesterday', '_at=2020-13', '_count=x', '_sort=_id']) expect([query, (await fhir.call(all, 'GET', `Patient/_history?${query}`)).status]).toEqual([query, 400]);
  expect((await page('Patient/_history?_sort=-_lastUpdated&nothing=x')).versions).toHaveLength(6);
  expect((await fhir.call(all, 'GET', 'Patient/_history?nothing=x', undefined, { prefer: 'handling=strict' })).status).toBe(400);
});
