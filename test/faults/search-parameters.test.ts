import { expect, test } from '@jest/globals';
import { Backend, type SearchPage } from '../support/callers.ts';
import { startTestServer } from '../support/server.ts';

interface Status { readonly name: string; readonly state: string; readonly seen: number }
interface Capabilities { readonly rest: readonly { readonly resource: readonly { readonly type: string; readonly searchParam: readonly { readonly name: string }[] }[] }[] }

const parameter = (status: string) => ({
  resourceType: 'SearchParameter', id: 'eye-colour', url: 'http://example.org/eye-colour', name: 'EyeColour', status, description: 'Colour of the eyes', code: 'eye-colour', base: ['Patient'], type: 'token',
  expression: "Patient.extension.where(url='http://example.org/eye').value",
});
const patient = (index: number) => ({ resourceType: 'Patient', extension: [{ url: 'http://example.org/eye', valueCode: index % 2 === 0 ? 'green' : 'brown' }] });
const count = 1_200;

test('a posted SearchParameter is indexed through a kill -9, searched by, announced, retired and forgotten', async () => {
  const server = await startTestServer();
  const backend = await Backend.register(server);
  try {
    const until = async (what: string, condition: () => Promise<boolean>) => {
      for (const endMs = Date.now() + 150_000; !(await condition()); await new Promise((resolve) => setTimeout(resolve, 100))) if (Date.now() > endMs) throw new Error(`Not in time: ${what}`);
    };
    const status = async (): Promise<Status | undefined> => (await server.cliJson<readonly Status[]>(['index', 'status'])).find(({ name }) => name === 'eye-colour');
    const isAnnounced = async () => (await backend.get<Capabilities>('metadata')).rest[0]!.resource.find(({ type }) => type === 'Patient')!.searchParam.some(({ name }) => name === 'eye-colour');
    const strictly = (path: string) => backend.call('GET', path, undefined, { Prefer: 'handling=strict' });
    for (let from = 0; from < count; from += 300) {
      const entry = Array.from({ length: 300 }, (_, index) => ({ request: { method: 'POST', url: 'Patient' }, resource: patient(from + index) }));
      expect((await backend.call('POST', '', { resourceType: 'Bundle', type: 'transaction', entry })).status).toBe(200);
    }
    expect((await strictly('Patient?eye-colour=green')).status).toBe(400);
    expect((await backend.call('PUT', 'SearchParameter/eye-colour', parameter('active'))).status).toBe(201);
    // The owner of the job ends in the middle of it, or before it was begun.
    await server.kill();
    await server.restart();
    await until('searchable', async () => (await strictly('Patient?eye-colour=green&_summary=count')).status === 200);
    const found = await backend.get<SearchPage>('Patient?eye-colour=green&_total=accurate&_count=1');
    expect(found.total).toBe(count / 2);
    expect(await status()).toMatchObject({ state: expect.stringMatching(/^(?:ready|done)$/) as unknown as string, seen: count });
    await until('announced', isAnnounced);
    expect((await backend.call('PUT', 'SearchParameter/eye-colour', parameter('retired'))).status).toBe(200);
    await until('retired', async () => (await strictly('Patient?eye-colour=green')).status === 400);
    await until('no longer announced', async () => !(await isAnnounced()));
    expect((await backend.call('DELETE', 'SearchParameter/eye-colour')).status).toBe(204);
    await until('forgotten', async () => (await status()) === undefined);
  } finally {
    backend.close();
    await server.remove();
  }
}, 480_000);
