import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { observation, patient } from '../storage/support.ts';
import { grant, testFhir, type TestFhir } from './support.ts';

let fhir: TestFhir;
beforeAll(async () => {
  fhir = await testFhir();
  for (const id of ['mine', 'other']) await fhir.on.put(patient(), id, 0);
  for (let version = 0; version < 4; version += 1) {
    await fhir.on.put(observation('other'), 'hidden');
    if (version % 2 === 0) await fhir.on.put(observation('mine'), 'visible');
  }
  await fhir.on.put(observation('other'), 'last');
});
afterAll(() => fhir.close());

const all = [grant('*', 'cruds')];
const mine = [grant('Patient', 'rs', 'mine'), grant('Observation', 'cruds', 'mine')];

interface Bundle { readonly link: readonly { readonly relation: string; readonly url: string }[]; readonly entry?: readonly { readonly fullUrl: string }[] }

async function page(grants: typeof all, url: string): Promise<{ ids: string[]; next: string | undefined }> {
  const { status, json } = await fhir.call(grants, 'GET', url);
  expect(status).toBe(200);
  const { link, entry = [] } = json as unknown as Bundle;
  return { ids: entry.map(({ fullUrl }) => fullUrl.split('/').at(-1)!), next: link.find(({ relation }) => relation === 'next')?.url.replace(`${fhir.services.baseUrl}/`, '') };
}

test('the pages of a history tell nothing of versions that are hidden', async () => {
  expect(await page(mine, 'Observation/hidden/_history?_since=2000-01-01&_count=1')).toEqual(await page(mine, 'Observation/absent/_history?_since=2000-01-01&_count=1'));
  for (const url of ['Observation/_history?_count=1', '_history?_type=Observation&_count=1']) {
    const first = await page(mine, url);
    expect(first.ids).toEqual(['visible']);
    const second = await page(mine, first.next!);
    expect(second.ids).toEqual(['visible']);
  }
  const first = await page(mine, 'Observation/_history?_count=1');
  expect((await page(mine, first.next!)).next).toBeUndefined();
  expect((await page(mine, 'Observation/visible/_history?_count=2')).next).toBeUndefined();
  expect((await page(all, 'Observation/_history?_count=3')).ids).toEqual(['last', 'hidden', 'visible']);
});

test('what is hidden and what is absent are refused alike', async () => {
  for (const [method, suffix] of [['GET', ''], ['GET', '/_history'], ['GET', '/_history/1'], ['PUT', ''], ['DELETE', '']] as const) {
    const [hidden, absent] = await Promise.all(['hidden', 'absent'].map((id) => fhir.call(mine, method, `Observation/${id}${suffix}`, method === 'PUT' ? observation('mine', { id }) : undefined)));
    expect([hidden!.status, hidden!.error?.message]).toEqual([404, absent!.error?.message]);
    expect(absent!.status).toBe(404);
  }
});

test('a cursor leads nowhere but where it was given', async () => {
  const { next } = await page(all, 'Observation?_count=1');
  const cursor = next!.slice(next!.indexOf('?'));
  expect((await page(all, `Observation${cursor}`)).ids).toHaveLength(1);
  for (const elsewhere of ['Patient', 'Observation/_history']) expect((await fhir.call(all, 'GET', `${elsewhere}${cursor}`)).error?.code).toBe('not-found');
  expect((await fhir.call(mine, 'GET', `Observation${cursor}`)).error?.code).toBe('not-found');
});

test('a search of everything covers what its caller may search', async () => {
  expect((await page(mine, '?_lastUpdated=gt2000')).ids.sort()).toEqual(['mine', 'visible']);
  expect((await fhir.call([grant('AuditEvent', 'rs')], 'GET', '?_lastUpdated=gt2000')).error?.code).toBe('forbidden');
  expect((await fhir.call([], 'GET', '?_lastUpdated=gt2000')).error?.code).toBe('forbidden');
  expect((await fhir.call(mine, 'GET', '?_type=Encounter')).error?.code).toBe('forbidden');
});

test('a Binary whose content type cannot stand in a header goes out as bytes', async () => {
  await fhir.on.put({ resourceType: 'Binary', contentType: 'text/\u043f', data: 'e30=' }, 'odd');
  expect((await fhir.call(all, 'GET', 'Binary/odd', undefined, { accept: '*/*' })).headers['Content-Type']).toBe('application/octet-stream');
});
