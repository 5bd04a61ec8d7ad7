import { describe, expect, test } from '@jest/globals';
import { checkProfiles, shippedProfile, type Finding } from '../../../resources/profiles/index.ts';
import { validateResource } from '../../../resources/validate/index.ts';
import { newEntryId } from '../../../server/audit/entry.ts';
import type { AuditRecord } from '../../../server/audit/record.ts';
import { eventId, parseEventId, renderEvents } from '../../../server/audit/render/event.ts';
import { kinds, observation, practitioner, query, search } from './kinds.ts';
import { recordOf, site } from './support.ts';

interface Coding { system?: string; code?: string }
interface Agent { type?: { coding: Coding[] }; requestor: boolean; who?: { reference?: string; identifier?: { value: string } }; network?: unknown; media?: unknown; altId?: string; purposeOfUse?: unknown }
interface Entity { type?: Coding; role?: Coding; what?: { reference?: string; identifier?: { value?: string } }; query?: string; detail?: { type: string; valueString: string }[]; name?: string; lifecycle?: unknown }
interface Event { id: string; meta: { profile?: string[] }; type: Coding; subtype: Coding[]; action: string; outcome: string; outcomeDesc?: string; agent: Agent[]; entity: Entity[]; purposeOfEvent?: unknown }

const render = (changes: Partial<AuditRecord>): Event[] => renderEvents(newEntryId(Date.now()), recordOf(changes), site) as unknown as Event[];
const dcm = 'http://dicom.nema.org/resources/ontology/DCM';
const participation = 'http://terminology.hl7.org/CodeSystem/v3-ParticipationType';
const base = 'https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.';
const own = 'urn:interlock:audit-profile:';

/** The slices of the IHE BALP profiles, 1.1.4 (https://profiles.ihe.net/ITI/BALP/artifacts.html), written down apart from the renderer. */
const profiles: Record<string, { subtypes: string[]; action: string; client: string; server: string; users: string[]; entity: 'data' | 'query' }> = {
  Create: { subtypes: ['create'], action: 'C', client: `${dcm}|110153`, server: `${dcm}|110152`, users: ['AUT', 'INF', 'CST'], entity: 'data' },
  Read: { subtypes: ['read', 'vread'], action: 'R', client: `${dcm}|110152`, server: `${dcm}|110153`, users: ['IRCP'], entity: 'data' },
  Update: { subtypes: ['update', 'patch'], action: 'U', client: `${dcm}|110153`, server: `${dcm}|110152`, users: ['AUT', 'INF', 'CST'], entity: 'data' },
  Delete: { subtypes: ['delete'], action: 'D', client: `${dcm}|110150`, server: 'http://terminology.hl7.org/CodeSystem/provenance-participant-type|custodian', users: ['AUT', 'INF', 'CST'], entity: 'data' },
  Query: { subtypes: ['search', 'search-type', 'search-system'], action: 'E', client: `${dcm}|110153`, server: `${dcm}|110152`, users: ['IRCP'], entity: 'query' },
};
const canonical = (coding: Coding | undefined): string => `${coding?.system ?? ''}|${coding?.code ?? ''}`;
const typed = (agents: Agent[], type: string): Agent[] => agents.filter((agent) => agent.type?.coding.some((coding) => canonical(coding) === type));

/** What a claimed BALP profile demands and this event lacks. */
function unmet(event: Event): string[] {
  const faults: string[] = [];
  const need = (holds: boolean, what: string): void => {
    if (!holds) faults.push(what);
  };
  for (const url of event.meta.profile ?? []) {
    const name = url.slice(base.length);
    const patient = name.startsWith('Patient');
    const profile = profiles[patient ? name.slice('Patient'.length) : name];
    // These are checked by the profile engine alone.
    if (url.startsWith(own) || name === 'PrivacyDisclosure.Source') continue;
    if (!url.startsWith(base) || profile === undefined) return [`unknown profile ${url}`];
    need(canonical(event.type) === 'http://terminology.hl7.org/CodeSystem/audit-event-type|rest', 'type');
    need(event.subtype.filter(({ system, code }) => system === 'http://hl7.org/fhir/restful-interaction' && profile.subtypes.includes(code!)).length === 1, 'subtype');
    need(event.action === profile.action && event.outcome === '0', 'action, outcome');
    for (const type of [profile.client, profile.server]) {
      const [agent, ...more] = typed(event.agent, type);
      need(agent?.who !== undefined && agent.network !== undefined && agent.media === undefined && more.length === 0, `agent ${type}`);
    }
    const users = event.agent.filter((agent) => agent.type?.coding.some(({ system, code }) => system === participation && profile.users.includes(code!)));
    need(users.length <= 1 && users.every((user) => user.requestor && user.who !== undefined && user.network === undefined), 'user');
    const objects = event.entity.filter((entity) => canonical(entity.type) === 'http://terminology.hl7.org/CodeSystem/audit-entity-type|2');
    const [object] = objects;
    need(objects.length === 1, 'one system object');
    if (profile.entity === 'data') need(object?.what !== undefined && ['4', '3', '20'].includes(object.role?.code ?? ''), 'data');
    else need(object?.what === undefined && object?.role?.code === '24' && object.query !== undefined && object.detail === undefined && object.lifecycle === undefined, 'query');
    const persons = event.entity.filter((entity) => canonical(entity.type) === 'http://terminology.hl7.org/CodeSystem/audit-entity-type|1');
    need(persons.length === (patient ? 1 : 0) && persons.every((person) => person.role?.code === '1' && person.what?.reference?.startsWith('Patient/') === true), 'patient');
    const transactions = event.entity.filter((entity) => canonical(entity.type) === 'https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType|XrequestId');
    need(transactions.length === 1 && transactions[0]?.what?.identifier?.value !== undefined, 'transaction');
  }
  return faults;
}

/** What the profile engine finds wrong with an event by the profile that it claims, or could not check. */
const found = (event: unknown): Finding[] => [...checkProfiles(event as Record<string, unknown>, [], { source: shippedProfile, invariants: 'all', budgetMs: 30_000, nowMs: () => performance.now() }).findings].filter(({ severity }) => severity !== 'warning');

/** What each kind of event cannot do without: how to spoil it, by the profile's name. */
const spoilers: Record<string, (event: Record<string, unknown> & Event) => object> = {
  PatientCreate: (event) => ({ entity: event.entity.filter(({ role }) => role?.code !== '1') }),
  Create: (event) => ({ agent: event.agent.slice(1) }),
  PatientRead: (event) => ({ agent: event.agent.map(({ network: _, ...agent }) => agent) }),
  Read: () => ({ action: 'E' }),
  PatientUpdate: (event) => ({ agent: event.agent.map((agent) => ({ ...agent, requestor: false })) }),
  PatientDelete: () => ({ subtype: [{ system: 'http://hl7.org/fhir/restful-interaction', code: 'read' }] }),
  Delete: () => ({ outcome: '8' }),
  PatientQuery: (event) => ({ entity: event.entity.map(({ query: _, ...entity }) => entity) }),
  Query: (event) => ({ entity: event.entity.map((entity) => ({ ...entity, type: { system: 'urn:x', code: 'x' } })) }),
  'PrivacyDisclosure.Source': () => ({ source: { site: 'x', observer: { display: 'somebody else' } } }),
  interaction: () => ({ type: { system: dcm, code: '110100' } }),
  refusal: () => ({ outcomeDesc: undefined }),
  exchange: (event) => ({ entity: event.entity.filter(({ what }) => what?.identifier?.value === undefined || what.identifier.value.startsWith('request')) }),
  authentication: () => ({ subtype: [{ system: 'urn:x', code: 'x' }] }),
  command: (event) => ({ entity: event.entity.filter(({ name }) => name === undefined) }),
  key: (event) => ({ entity: event.entity.slice(0, -1), agent: event.agent.slice(1) }),
  server: (event) => ({ agent: event.agent.map(({ who: _, ...agent }) => agent) }),
  export: () => ({ action: 'E' }),
};

describe('AuditEvents', () => {
  test.each(kinds)('$name: valid R4, as its profile demands, one requestor', ({ record, profiles: expected, type, subtype }) => {
    const events = render(record);
    expect(events.map((event) => event.meta.profile?.map((url) => url.replace(base, '').replace(own, '')).join())).toEqual(expected);
    for (const event of events) {
      expect(validateResource(event)).toEqual([]);
      expect(unmet(event)).toEqual([]);
      expect(found(event)).toEqual([]);
      expect(event.agent.filter((agent) => agent.requestor)).toHaveLength(1);
      if (type !== undefined) expect(event.type.code).toBe(type);
      if (subtype !== undefined) expect(event.subtype.map(({ code }) => code)).toContain(subtype);
    }
  });

  test('a search gives one event per patient, each with that patient’s resources only', () => {
    const [first, second] = render({ ...search, entities: [observation('o1', 'pat-1'), observation('o2', 'pat-2'), practitioner], patients: ['pat-1', 'pat-2'] });
    const references = (event: Event): unknown[] => event.entity.map((entity) => entity.what?.reference).filter((reference) => reference !== undefined);
    expect(references(first!)).toEqual(['Patient/pat-1', 'Observation/o1/_history/2', 'Practitioner/p9/_history/1']);
    expect(references(second!)).toEqual(['Patient/pat-2', 'Observation/o2/_history/2']);
    for (const event of [first!, second!]) expect(event.entity.map((entity) => entity.query).filter((text) => text !== undefined).map((text) => Buffer.from(text, 'base64').toString())).toEqual([query]);
  });

  test('who, on whose behalf, why, from where, with which outcome', () => {
    const [event] = render({ outcome: '4', error: 'forbidden', rule: 'consent', purposeOfUse: ['BTG'], breakGlassReason: 'unconscious', recovered: true });
    const user = event!.agent.find((agent) => agent.requestor)!;
    expect(user).toMatchObject({ who: { reference: 'Practitioner/p1', identifier: { value: 'user-1' } }, altId: 'user-1', name: 'Dr. Example', role: [{ coding: [{ code: 'physician' }] }], purposeOfUse: [{ coding: [{ code: 'BTG' }] }] });
    expect(event!.agent[0]).toMatchObject({ altId: 'app-1', name: 'Chart App', requestor: false, network: { address: '192.0.2.10', type: '2' } });
    expect(event!.outcomeDesc).toBe('forbidden: consent: entry recovered after a crash');
    expect(event!.entity.flatMap((entity) => entity.detail ?? [])).toContainEqual({ type: 'breakGlassReason', valueString: 'unconscious' });
  });

  test('the hash of a written version stands with it', () => {
    const [event] = render({ interaction: 'create', action: 'C', entities: [{ ...observation('o1', 'pat-1'), hash: 'ab'.repeat(32) }] });
    expect(event!.entity[1]).toMatchObject({ what: { reference: 'Observation/o1/_history/2' }, detail: [{ type: 'sha256', valueString: 'ab'.repeat(32) }] });
  });

  test('ids name an entry and one of its events, in one way only', () => {
    const id = newEntryId(1_700_000_000_000);
    expect(parseEventId(eventId(id, 12))).toEqual({ entryId: id, index: 12 });
    for (const other of ['', 'x', id.toString('hex'), `${id.toString('hex')}-`, `${id.toString('hex')}-01`, `${id.toString('hex').toUpperCase()}-0`, `${id.toString('hex')}--1`]) expect(parseEventId(other)).toBeUndefined();
  });

  const claimed = new Map(kinds.flatMap(({ record }) => render(record).map((event) => [event.meta.profile![0]!.replace(base, '').replace(own, ''), event] as const)));

  test.each([...claimed])('a spoilt event of the profile %s does not conform', (name, event) => {
    expect(Object.keys(spoilers)).toContain(name);
    const spoilt = JSON.parse(JSON.stringify({ ...event, ...spoilers[name]!(event as Record<string, unknown> & Event) })) as unknown;
    expect(found(spoilt).filter(({ severity }) => severity === 'error').length).toBeGreaterThan(0);
  });

  test('the check above sees what is wrong', () => {
    const [event] = render({});
    expect(unmet({ ...event!, entity: event!.entity.slice(1) })).toEqual(['patient']);
    expect(unmet({ ...event!, agent: event!.agent.slice(1) })).toEqual([`agent ${dcm}|110152`]);
    expect(unmet({ ...event!, action: 'E' })).toEqual(['action, outcome']);
  });
});
