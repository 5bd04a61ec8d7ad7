import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { InterlockError } from '../../../resources/outcome/error.ts';
import { observation, patient } from '../storage/support.ts';
import { grant, testFhir, type Answer, type TestFhir } from './support.ts';

let fhir: TestFhir;
beforeAll(async () => {
  fhir = await testFhir();
});
afterAll(() => fhir.close());

const all = [grant('*', 'cruds')];
const identified = (value: string, more: Record<string, unknown> = {}) => patient({ identifier: [{ system: 'urn:mrn', value }], ...more });

interface Request { readonly method: string; readonly url: string; readonly [header: string]: string }

function entry(request: Request, resource?: unknown, fullUrl?: string): Record<string, unknown> {
  return { request, ...(resource === undefined ? {} : { resource }), ...(fullUrl === undefined ? {} : { fullUrl }) };
}

async function transaction(entries: readonly Record<string, unknown>[], type = 'transaction', grants = all): Promise<Answer> {
  return fhir.call(grants, 'POST', '', { resourceType: 'Bundle', type, entry: entries });
}

function statuses({ json }: Answer): string[] {
  return ((json['entry'] ?? []) as { response: { status: string } }[]).map(({ response }) => response.status);
}

async function total(url: string): Promise<number> {
  return (await fhir.call(all, 'GET', `${url}&_total=accurate`)).json['total'] as number;
}

describe('criteria that hold a question mark', () => {
  test('are not cut at it', async () => {
    await fhir.call(all, 'POST', 'Patient', identified('q'));
    await fhir.call(all, 'POST', 'Patient', identified('q?active=true'));
    expect(statuses(await transaction([entry({ method: 'DELETE', url: 'Patient?identifier=urn:mrn|q?active=true' })]))).toEqual(['204']);
    expect([await total('Patient?identifier=urn:mrn|q'), await total('Patient?identifier=urn:mrn|q?active=true')]).toEqual([1, 0]);
    expect((await fhir.call(all, 'POST', 'Patient', identified('r'), { ifNoneExist: 'identifier=urn:mrn|q?gender=female' })).status).toBe(201);
    expect(statuses(await transaction([entry({ method: 'GET', url: 'Patient?identifier=urn:mrn|r?x' })], 'batch'))).toEqual(['200']);
  });

  test('and none may be empty', async () => {
    expect((await fhir.call(all, 'DELETE', 'Patient?identifier=&gender=female')).error?.code).toBe('criteria-required');
  });
});

describe('one resource twice', () => {
  test('named and matched, or matched twice, is refused, and nothing happens', async () => {
    const { json } = await fhir.call(all, 'POST', 'Patient', identified('twice'));
    const id = json['id'] as string;
    const url = 'Patient?identifier=urn:mrn|twice';
    const update = entry({ method: 'PUT', url }, identified('twice', { gender: 'other' }));
    for (const second of [
      entry({ method: 'PUT', url: `Patient/${id}` }, identified('twice', { id, gender: 'male' })),
      entry({ method: 'PUT', url: `${url}&gender=female` }, identified('twice', { gender: 'male' })),
      entry({ method: 'DELETE', url }),
      entry({ method: 'POST', url: 'Patient', ifNoneExist: 'identifier=urn:mrn|twice' }, identified('twice')),
    ]) {
      const refused = await transaction([update, second]);
      expect([refused.status, refused.error?.options.expression]).toEqual([400, expect.stringMatching(/^Bundle\.entry\[[01]\]$/)]);
    }
    expect((await fhir.call(all, 'GET', `Patient/${id}`)).json['meta']).toMatchObject({ versionId: '1' });
  });

  test('by the same criteria that nothing meets is refused', async () => {
    const create = entry({ method: 'POST', url: 'Patient', ifNoneExist: 'identifier=urn:mrn|same' }, identified('same'));
    expect((await transaction([create, create])).status).toBe(400);
    expect(await total('Patient?identifier=urn:mrn|same')).toBe(0);
  });

  test('creates that find what they would make may share it', async () => {
    await fhir.call(all, 'POST', 'Patient', identified('shared'));
    const create = entry({ method: 'POST', url: 'Patient', ifNoneExist: 'identifier=urn:mrn|shared' }, identified('shared'));
    expect(statuses(await transaction([create, create]))).toEqual(['200', '200']);
  });
});

describe('conditional updates', () => {
  test('create under the id that they bring, and refuse another than the match has', async () => {
    const put = (id: string) => transaction([entry({ method: 'PUT', url: 'Patient?identifier=urn:mrn|brought' }, identified('brought', { id }))]);
    expect(statuses(await put('brought-1'))).toEqual(['201']);
    expect((await fhir.call(all, 'GET', 'Patient/brought-1')).status).toBe(200);
    expect(statuses(await put('brought-1'))).toEqual(['200']);
    expect((await put('brought-2')).status).toBe(400);
  });
});

test('an entry that is forbidden is named, and nothing happens', async () => {
  const granted = [grant('Patient', 'cruds'), grant('Observation', 'crs', 'somebody')];
  const refused = await transaction([entry({ method: 'POST', url: 'Patient' }, identified('forbidden')), entry({ method: 'POST', url: 'Observation' }, observation('else'))], 'transaction', granted);
  expect([refused.error?.code, refused.error?.options.expression]).toEqual(['forbidden', 'Bundle.entry[1]']);
  expect(await total('Patient?identifier=urn:mrn|forbidden')).toBe(0);
});

describe('reads of a transaction', () => {
  test('that may not be done refuse it whole', async () => {
    const write = entry({ method: 'POST', url: 'Patient' }, identified('unread'));
    const refused = await transaction([write, entry({ method: 'GET', url: 'Observation/x' })], 'transaction', [grant('Patient', 'cruds')]);
    expect([refused.error?.code, refused.error?.options.expression]).toEqual(['forbidden', 'Bundle.entry[1]']);
    expect((await transaction([write, entry({ method: 'GET', url: 'Nothing/x' })])).status).toBe(404);
    expect(await total('Patient?identifier=urn:mrn|unread')).toBe(0);
  });

  test('that find nothing do not deny the writes, which have happened', async () => {
    const answer = await transaction([entry({ method: 'GET', url: 'Patient/absent' }), entry({ method: 'POST', url: 'Patient' }, identified('happened'))]);
    expect([answer.status, statuses(answer)]).toEqual([200, ['404', '201']]);
    const before = fhir.records.length;
    expect((await transaction([entry({ method: 'GET', url: 'Patient/absent' })])).status).toBe(404);
    expect(fhir.records.slice(before).map(({ interaction, outcome }) => [interaction, outcome])).toEqual([['transaction', '0'], ['read', '4']]);
  });
});

test('a conditional reference is looked up once, whatever the conditions turn out to be', async () => {
  await fhir.call(all, 'POST', 'Patient', identified('referred'));
  const before = fhir.records.length;
  const bundle = [
    entry({ method: 'POST', url: 'Patient', ifNoneExist: 'identifier=urn:mrn|referred' }, identified('referred'), 'urn:uuid:0f5b1c3e-5a3b-4b0e-9a37-0c2f6a1d0001'),
    entry({ method: 'POST', url: 'Observation' }, observation('x', { subject: { reference: 'Patient?identifier=urn:mrn|referred' } })),
  ];
  expect(statuses(await transaction(bundle))).toEqual(['200', '201']);
  expect(fhir.records.slice(before).map(({ interaction }) => interaction).sort()).toEqual(['create', 'search-type', 'transaction']);
});

test('a batch tells which writes happened when the audit fails for others', async () => {
  const { record } = fhir.audit;
  fhir.audit.record = () => Promise.reject(new InterlockError('audit-unavailable'));
  try {
    const answer = await transaction([entry({ method: 'POST', url: 'Patient' }, identified('batched')), entry({ method: 'GET', url: 'Patient/absent' })], 'batch');
    expect([answer.status, statuses(answer)]).toEqual([200, ['201', '503']]);
  } finally {
    fhir.audit.record = record;
  }
});

test('that a write may have happened is told even while its audit fails', async () => {
  const { record, appendCommitted } = fhir.audit;
  fhir.audit.record = () => Promise.reject(new InterlockError('audit-unavailable'));
  fhir.audit.appendCommitted = () => Promise.reject(new InterlockError('outcome-unknown'));
  try {
    expect((await fhir.call(all, 'POST', 'Patient', identified('unsure'))).error?.code).toBe('outcome-unknown');
  } finally {
    Object.assign(fhir.audit, { record, appendCommitted });
  }
});
