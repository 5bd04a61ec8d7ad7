import { Backend, type SearchPage } from '../support/callers.ts';
import type { TestServer } from '../support/server.ts';

const callers = 8;

/** What eight parallel conditional creates of one resource led to. */
export interface RaceResult {
  /** How often each status was answered, such as `{ "200": 7, "201": 1 }`. */
  readonly answered: Readonly<Record<string, number>>;
  readonly stored: number;
}

/** Lets eight callers create the same patient at once unless it exists, so many times, each with a new identifier. */
export async function raceCreates(server: TestServer, rounds: number): Promise<RaceResult[]> {
  const backend = await Backend.register(server);
  const system = 'urn:example:race';
  const results: RaceResult[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const identifier = { system, value: `race-${round}` };
    const create = async () => backend.call('POST', 'Patient', { resourceType: 'Patient', identifier: [identifier] }, { 'If-None-Exist': `identifier=${system}|${identifier.value}` });
    const statuses = (await Promise.all(Array.from({ length: callers }, create))).map(({ status }) => status);
    const answered = Object.fromEntries([...Map.groupBy(statuses, String)].map(([status, all]) => [status, all.length]));
    const found = await backend.get<SearchPage>(`Patient?identifier=${system}|${identifier.value}`);
    results.push({ answered, stored: found.entry?.length ?? 0 });
  }
  backend.close();
  return results;
}
