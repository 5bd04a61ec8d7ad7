import type { HttpClient } from '../../server/demo/http-client.ts';
import { backendCaller } from '../support/fhir.ts';
import type { TestServer } from '../support/server.ts';
import type { Searcher } from './check.ts';
import { oracleParams, at } from './params.ts';

const everything = Object.keys(oracleParams);
const has = (resource: unknown, path: string, codes: readonly string[]): boolean => at(resource, path).some((code) => codes.includes(code as string));

/** Who asks: one caller who sees everything, and one whose scopes leave parts of it out, also behind chains. */
export async function searchersOf(server: TestServer, http: HttpClient): Promise<[Searcher, Searcher]> {
  const all = await backendCaller(server, http, 'system/*.cruds');
  const some = await backendCaller(server, http, 'system/Observation.rs?category=laboratory system/Patient.rs?gender=female system/Encounter.rs system/Practitioner.rs');
  return [
    { name: 'one who sees all', caller: all, types: everything, sees: () => true },
    {
      name: 'one who sees some', caller: some, types: ['Observation', 'Patient', 'Encounter', 'Practitioner'],
      sees: (resource) => (resource.resourceType === 'Observation' ? has(resource, 'category.coding.code', ['laboratory']) : resource.resourceType !== 'Patient' || has(resource, 'gender', ['female'])),
    },
  ];
}
