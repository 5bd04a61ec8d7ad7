import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { BreakGlass, type BreakGlassAlert } from '../../../server/access/break-glass.ts';
import { ConsentRegistry } from '../../../server/access/consent-registry.ts';
import type { AccessContext, Grant } from '../../../server/access/context.ts';
import { handle } from '../../../server/fhir/pipeline.ts';
import { splitUrl } from '../../../server/fhir/routes.ts';
import { InterlockError } from '../../../resources/outcome/error.ts';
import { testFhir, type TestFhir } from '../fhir/support.ts';
import { observation, patient, tenant } from '../storage/support.ts';

let fhir: TestFhir;
let consents: ConsentRegistry;
let nowMs = Date.parse('2026-01-01T12:00:00Z');
const alerts: BreakGlassAlert[] = [];
const make = () => new BreakGlass({ app: fhir.on.app, keyring: fhir.on.keyring, audit: fhir.audit, nowMs: () => nowMs, onAlert: (alert) => void alerts.push(alert) });
let breakGlass: BreakGlass;

const denial = (id: string) => ({ resourceType: 'Consent', status: 'active', scope: { coding: [{ code: 'patient-privacy' }] }, category: [{ text: 'privacy' }], patient: { reference: `Patient/${id}` }, provision: { type: 'deny' } });
const about = (id: string) => observation('x', { subject: { reference: `Patient/${id}` } });

beforeAll(async () => {
  fhir = await testFhir();
  consents = new ConsentRegistry({ store: fhir.on.store, values: fhir.services.values, nowMs: () => nowMs, otherwise: 'permit', organizations: new Map() });
  for (const id of ['closed', 'locked', 'free']) {
    await fhir.on.put(patient(), id);
    await fhir.on.put(about(id), `of-${id}`);
  }
  for (const id of ['closed', 'locked']) await fhir.on.put(denial(id), `no-${id}`);
});
beforeEach(() => {
  nowMs += 7_200_000;
  breakGlass = make();
});
afterAll(() => fhir.close());

const all: readonly Grant[] = [{ type: '*', permissions: new Set(['c', 'r', 'u', 's']) }];
const person = (more: Partial<AccessContext['actor']> = {}, grants = all): AccessContext => ({ tenant, requestId: 'r', actor: { kind: 'user', id: 'u1', display: 'ann', role: 'physician', clientId: 'app', ...more }, grants, purposeOfUse: ['TREAT'], signedIn: { atMs: nowMs - 60_000, amr: ['pwd', 'otp', 'mfa'] } });

async function send(who: AccessContext, method: string, url: string, body?: unknown, services = { consents, breakGlass }): Promise<{ status: number; headers: Readonly<Record<string, string>>; json: Record<string, unknown>; error?: InterlockError }> {
  const { path, query } = splitUrl(url);
  try {
    const context = await services.breakGlass.apply(who);
    const answer = await handle({ ...fhir.services, ...services }, { method, path, query: [...new URLSearchParams(query)], headers: {}, ...(body === undefined ? {} : { body: Buffer.from(JSON.stringify(body)) }) }, context);
    return { status: answer.status, headers: answer.headers, json: JSON.parse(answer.body?.toString() ?? '{}') as Record<string, unknown> };
  } catch (error) {
    if (!(error instanceof InterlockError)) throw error;
    return { status: error.status, headers: {}, json: {}, error };
  }
}
const asked = (more: Record<string, unknown> = {}) => {
  const values = { patient: 'closed', reason: 'unconscious in the emergency room', purpose: 'BTG', minutes: 10, ...more };
  return { resourceType: 'Parameters', parameter: [{ name: 'patient', valueReference: { reference: `Patient/${values.patient}` } }, { name: 'reason', valueString: values.reason }, { name: 'purpose', valueCode: values.purpose }, { name: 'minutes', valuePositiveInt: values.minutes }] };
};

test('lifts the consents of one patient for one person in one app, until its time is over, in every process', async () => {
  expect((await send(person(), 'GET', 'Observation/of-closed')).status).toBe(404);
  expect((await send(person(), 'GET', 'Observation?_total=accurate')).json['total']).toBe(1);
  const begun = alerts.length;
  expect((await send(person(), 'POST', '$break-glass', asked())).status).toBe(200);
  expect(alerts).toHaveLength(begun + 1);
  const seen = await send(person(), 'GET', 'Observation/of-closed');
  expect([seen.status, seen.headers['Warning']]).toEqual([200, expect.stringContaining('Emergency access')]);
  expect((await send(person(), 'GET', 'Observation?_total=accurate')).json['total']).toBe(2);
  const other = make();
  expect((await send(person(), 'GET', 'Observation/of-closed', undefined, { consents, breakGlass: other })).status).toBe(200);
  expect((await send(person(), 'GET', 'Observation/of-locked')).status).toBe(404);
  expect((await send(person({ id: 'u2' }), 'GET', 'Observation/of-closed')).status).toBe(404);
  expect((await send(person({ clientId: 'other' }), 'GET', 'Observation/of-closed')).status).toBe(404);
  nowMs += 600_000;
  expect((await send(person(), 'GET', 'Observation/of-closed')).status).toBe(404);
  expect((await send(person(), 'GET', 'Observation/of-closed', undefined, { consents, breakGlass: other })).status).toBe(404);
});

test('ends when the person says so', async () => {
  await send(person(), 'POST', '$break-glass', asked());
  expect((await send(person(), 'GET', 'Observation/of-closed')).status).toBe(200);
  expect((await send(person(), 'POST', '$break-glass-end', asked())).status).toBe(400);
  expect((await send(person(), 'POST', '$break-glass-end', { resourceType: 'Parameters', parameter: asked().parameter.slice(0, 1) })).status).toBe(200);
  expect((await send(person(), 'GET', 'Observation/of-closed')).status).toBe(404);
});

test('opens the patient to who is confined to patients in care, with the types of the role alone', async () => {
  const nurse = person({ role: 'nurse' }, [{ type: 'Observation', permissions: new Set(['r', 's']), careOf: 'Practitioner/n' }]);
  expect((await send(nurse, 'GET', 'Observation/of-closed')).status).toBe(404);
  await send(nurse, 'POST', '$break-glass', asked());
  expect((await send(nurse, 'GET', 'Observation/of-closed')).status).toBe(200);
  expect((await send(nurse, 'GET', 'Observation/of-free')).status).toBe(404);
  expect((await send(nurse, 'GET', 'Patient/closed')).status).toBe(403);
});

test('stands in every audit entry that concerns the patient, and in no other', async () => {
  await send(person(), 'POST', '$break-glass', asked({ purpose: 'ETREAT' }));
  const from = fhir.records.length;
  await send(person(), 'GET', 'Observation/of-closed');
  await send(person(), 'GET', 'Observation/of-free');
  await send(person(), 'POST', 'Observation', about('closed'));
  const records = fhir.records.slice(from);
  expect(records.map(({ interaction, purposeOfUse, breakGlassReason }) => [interaction, purposeOfUse, breakGlassReason])).toEqual([
    ['read', ['BTG', 'ETREAT', 'TREAT'], 'unconscious in the emergency room'],
    ['read', ['TREAT'], undefined],
    ['create', ['BTG', 'ETREAT', 'TREAT'], 'unconscious in the emergency room'],
  ]);
});

test.each([
  ['without a reason', {}, { reason: ' ' }, 400],
  ['for another purpose', {}, { purpose: 'TREAT' }, 400],
  ['for longer than an hour', {}, { minutes: 61 }, 400],
  ['by a role that may not', { role: 'billing' }, {}, 403],
  ['by a client of its own', { kind: 'client' }, {}, 403],
] as const)('is refused %s, and the refusal is on record', async (_why, actor, more, status) => {
  const from = fhir.records.length;
  expect((await send(person(actor), 'POST', '$break-glass', asked(more))).status).toBe(status);
  expect(fhir.records.slice(from).map(({ interaction, outcome }) => [interaction, outcome])).toEqual([['$break-glass', '4']]);
  expect((await send(person(actor), 'GET', 'Observation/of-closed')).status).toBe(404);
});

test.each([
  ['too long ago', { signedIn: { atMs: 0, amr: ['pwd', 'otp', 'mfa'] } }],
  ['with one factor', { signedIn: { atMs: Number.MAX_SAFE_INTEGER, amr: ['pwd'] } }],
] as const)('asks who signed in %s to sign in again, and how', async (_why, more) => {
  const from = fhir.records.length;
  const { status, error } = await send({ ...person(), ...more }, 'POST', '$break-glass', asked());
  expect([status, error?.code, error?.options.challenge]).toEqual([401, 'sign-in-too-old', expect.stringContaining('error="insufficient_user_authentication"')]);
  expect(fhir.records.slice(from).map(({ outcome, rule }) => [outcome, rule])).toEqual([['4', 'break-glass: the second factor is not fresh']]);
});

test('is told of in every page of a search', async () => {
  await send(person(), 'POST', '$break-glass', asked());
  const { json } = await send(person(), 'GET', 'Observation?_count=1');
  expect((json['entry'] as { search: { mode: string }; resource: unknown }[]).filter(({ search }) => search.mode === 'outcome')).toEqual([expect.objectContaining({ resource: expect.objectContaining({ issue: [expect.objectContaining({ details: expect.objectContaining({ text: expect.stringContaining('Emergency access') }) })] }) })]);
});

test('is reviewed by somebody else; what is stored tells nothing', async () => {
  await send(person(), 'POST', '$break-glass', asked());
  const open = await breakGlass.list(true);
  const { id } = open.at(-1)!;
  const raw = await fhir.on.app.collection<{ _id: string }>('break_glass').findOne({ _id: id });
  expect(JSON.stringify(raw)).not.toMatch(/unconscious|closed|ann/);
  await expect(breakGlass.review(id, { kind: 'operator', id: 'operator:ann', display: 'ann' }, 'fine', 'r')).rejects.toMatchObject({ code: 'forbidden' });
  await expect(breakGlass.review(id, { kind: 'user', id: 'u1' }, 'fine', 'r')).rejects.toMatchObject({ code: 'forbidden' });
  await expect(breakGlass.review(id, { kind: 'operator', id: 'operator:anna', display: 'anna' }, 'fine', 'r', ['u1'])).rejects.toMatchObject({ code: 'forbidden' });
  await expect(breakGlass.review(id, { kind: 'operator', id: 'operator:Ann', display: 'Ann' }, 'fine', 'r', ['u9'])).rejects.toMatchObject({ code: 'forbidden' });
  await expect(breakGlass.review(id, { kind: 'operator', id: 'operator:eve', display: 'eve' }, ' ', 'r')).rejects.toMatchObject({ code: 'request-invalid' });
  await breakGlass.review(id, { kind: 'operator', id: 'operator:eve', display: 'eve' }, 'looked at the chart: justified', 'r');
  expect((await breakGlass.list(true)).map((one) => one.id)).not.toContain(id);
  expect((await breakGlass.list(false)).find((one) => one.id === id)?.review?.by).toBe('operator:eve');
  // Reviewed, it still ends by its time only.
  expect((await send(person(), 'GET', 'Observation/of-closed')).status).toBe(200);
});
