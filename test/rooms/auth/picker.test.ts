import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { setCustomRoles } from '../../../server/access/roles.ts';
import { addPerson, authorizationUrl, Browser, redirectUri, signIn, startAuth, submit, type TestAuth } from './support.ts';

let server: TestAuth;
let app: string;

beforeAll(async () => {
  server = await startAuth();
  ({ clientId: app } = await server.auth.clients.addClient({ name: 'Growth Chart', type: 'public', redirectUris: [redirectUri], scope: 'openid launch/patient launch/encounter patient/*.cruds user/*.rs' }));
  const { store } = server.guard;
  const auditOf = (facts: { type: string; id: string }) => server.trail.prepare({ at: Date.now(), kind: 'rest', interaction: 'update', action: 'U', outcome: '0', requestId: 'fixture', actor: { kind: 'job', id: 'fixture' }, entities: [{ type: facts.type, id: facts.id }] });
  for (const [id, family] of [['p-1', 'Sample'], ['p-2', 'Samson']] as const) {
    const resource = { resourceType: 'Patient', id, name: [{ family, given: ['Ada'] }], birthDate: '1970-02-14', identifier: [{ value: `MRN-${id}` }] };
    const { audit } = await store.write(store.prepare(resource, id), auditOf);
    await server.trail.appendCommitted([audit]);
  }
});
afterAll(() => server.close());

async function open(role = 'nurse', patientId?: string): Promise<{ browser: Browser; shown: { response: Response; url: URL }; text: string }> {
  const person = await addPerson(server, patientId === undefined ? { role } : { patientId });
  const browser = server.browser();
  const { url } = await authorizationUrl(server, app, { scope: 'openid launch/patient patient/Patient.rs user/Patient.rs' });
  const shown = await signIn(browser, url, person);
  return { browser, shown, text: await shown.response.clone().text() };
}

test('nothing is listed before a search, and a search has to be narrow', async () => {
  const { browser, shown, text } = await open();
  expect(text).toContain('Choose a patient');
  expect(text).not.toContain('Sample');
  const before = (await server.records()).length;
  const wide: Record<string, string>[] = [{ name: 'sa' }, { birthdate: '1970-02-14' }, { identifier: 'MR' }, { name: '***' }, { name: 'sa', birthdate: '1970' }, {}];
  for (const entries of wide) {
    const { response } = await submit(browser, shown, { ...entries, decision: 'search' });
    expect(await response.text()).toContain('at least three letters');
  }
  expect(await server.records()).toHaveLength(before);
});

test('matches are offered by name, birth date and identifier; each search is recorded; what is typed means itself', async () => {
  const { browser, shown } = await open();
  for (const [entries, found] of [[{ name: 'Sam' }, ['p-1', 'p-2']], [{ name: 'ada sample' }, ['p-1']], [{ name: 'sa', birthdate: '1970-02-14' }, ['p-1', 'p-2']], [{ identifier: 'MRN-p-2' }, ['p-2']], [{ identifier: 'MRN-p-1,MRN-p-2' }, []], [{ name: 'nobody' }, []]] as const) {
    const before = (await server.records()).length;
    const page = await (await submit(browser, shown, { ...entries, decision: 'search' })).response.text();
    expect([...page.matchAll(/name="patient" value="([^"]+)"/g)].map(([, id]) => id).sort()).toEqual(found);
    expect((await server.records()).slice(before)).toEqual([expect.objectContaining({ interaction: 'search-type', outcome: '0', actor: expect.objectContaining({ clientId: app, role: 'nurse' }) })]);
  }
});

test('who is chosen has to be there and visible', async () => {
  const { browser, shown } = await open();
  const { response } = await submit(browser, shown, { patient: 'p-none' });
  expect(response.status).toBe(403);
  const chosen = await submit(browser, shown, { patient: 'p-2' });
  expect(await chosen.response.text()).toMatch(/Ada Samson, born 1970-02-14, MRN-p-2/);
});

test('a patient is not asked; the consent page counts their records only', async () => {
  const { text } = await open('patient', 'p-1');
  expect(text).toContain('your own record');
  expect(text.match(/(\d+) records? at present/g)).toEqual(['1 record at present', '1 record at present']);
});

test('a role without the right to see patients finds none, and that is recorded as a refusal', async () => {
  const { browser, shown } = await open('auditor');
  const { response } = await submit(browser, shown, { name: 'Sample', decision: 'search' });
  expect(response.status).toBe(403);
  expect(await response.text()).not.toContain('MRN');
  expect(await server.records()).toContainEqual(expect.objectContaining({ interaction: 'search-type', outcome: '4', error: 'forbidden' }));
});

test('who is confined to patients in care finds, chooses and counts these alone', async () => {
  setCustomRoles({ 'ward-nurse': { summary: 'Cares for own patients', purposes: ['TREAT'], rows: [{ types: ['Patient'], interactions: 'rs', compartment: 'care' }] } });
  try {
    const { store } = server.guard;
    const team = { resourceType: 'CareTeam', id: 'team', status: 'active', subject: { reference: 'Patient/p-1' }, participant: [{ member: { reference: 'Practitioner/w-1' } }] };
    const { audit } = await store.write(store.prepare(team, 'team'), (facts) => server.trail.prepare({ at: Date.now(), kind: 'rest', interaction: 'create', action: 'C', outcome: '0', requestId: 'fixture', actor: { kind: 'job', id: 'fixture' }, entities: [{ type: facts.type, id: facts.id }] }));
    await server.trail.appendCommitted([audit]);
    const browser = server.browser();
    const { url } = await authorizationUrl(server, app, { scope: 'launch/patient user/Patient.rs' });
    const shown = await signIn(browser, url, await addPerson(server, { role: 'ward-nurse', practitionerId: 'w-1' }));
    const found = await submit(browser, shown, { name: 'Sam', decision: 'search' });
    expect([...(await found.response.clone().text()).matchAll(/name="patient" value="([^"]+)"/g)].map(([, id]) => id)).toEqual(['p-1']);
    expect((await submit(browser, found, { patient: 'p-2' })).response.status).toBe(403);
    expect(await (await submit(browser, shown, { patient: 'p-1' })).response.text()).toMatch(/1 record/);
  } finally {
    setCustomRoles({});
  }
});
