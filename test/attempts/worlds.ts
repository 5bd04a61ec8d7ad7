import { InterlockError } from '../../resources/outcome/error.ts';
import { toOperationOutcome } from '../../resources/outcome/render.ts';
import type { TokenFacts } from '../../server/access/context.ts';
import { contextFromToken } from '../../server/access/grants.ts';
import { OwnPatients } from '../../server/access/own-patients.ts';
import { handle } from '../../server/fhir/pipeline.ts';
import { splitUrl } from '../../server/fhir/routes.ts';
import type { Random } from '../oracle/random.ts';
import { testFhir, type TestFhir } from '../rooms/fhir/support.ts';

export type Json = Record<string, unknown>;
export type Resource = Json & { readonly resourceType: string; readonly id: string };

/** A request as it would come by HTTP. */
export interface Attempt {
  readonly method: string;
  /** Path and query below the FHIR base. */
  readonly url: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string | undefined>>;
  readonly contentType?: string;
}

/** What came back, with all that may differ between two servers made alike. */
export interface Reply {
  readonly status: number;
  readonly text: string;
  /** The next page, as this server links it. */
  readonly next: string | undefined;
}

/** Whoever loads the worlds. */
const admin: TokenFacts = { clientId: 'loader', scope: 'system/*.cruds', expiresAtMs: Number.MAX_SAFE_INTEGER };

/** One server with one record: the real pipeline on a real MongoDB. */
export class World {
  readonly #fhir: TestFhir;
  readonly #own: OwnPatients;

  private constructor(fhir: TestFhir) {
    this.#fhir = fhir;
    this.#own = new OwnPatients({ store: fhir.on.store, nowMs: Date.now, values: fhir.services.values });
  }

  static async open(): Promise<World> {
    return new World(await testFhir());
  }

  async ask(token: TokenFacts, { method, url, body, headers = {}, contentType }: Attempt): Promise<Reply> {
    const context = await this.#own.confine(contextFromToken(token, { requestId: 'attempt' }));
    const { path, query } = splitUrl(url);
    try {
      const bytes = body === undefined ? {} : { body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)) };
      const answer = await handle(this.#fhir.services, { method, path, query: [...new URLSearchParams(query)], headers: Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== undefined)), ...(contentType === undefined ? {} : { contentType }), ...bytes }, context);
      const parts: Buffer[] = [];
      if (answer.stream !== undefined) for await (const part of answer.stream.open()) parts.push(part);
      return replyOf(answer.status, answer.headers, answer.body?.toString() ?? Buffer.concat(parts).toString());
    } catch (error) {
      if (!(error instanceof InterlockError)) throw error;
      const { status, outcome } = toOperationOutcome(error, 'attempt');
      return replyOf(status, {}, JSON.stringify(outcome));
    }
  }

  async load(resource: Resource): Promise<void> {
    const { status, text } = await this.ask(admin, { method: 'PUT', url: `${resource.resourceType}/${resource.id}`, body: resource });
    if (status !== 200 && status !== 201) throw new Error(`PUT of a ${resource.resourceType} was answered by ${status}: ${text}`);
  }

  /** Stores resources of different ids in one transaction. */
  async loadAll(resources: readonly Resource[]): Promise<void> {
    const entry = resources.map((resource) => ({ resource, request: { method: 'PUT', url: `${resource.resourceType}/${resource.id}` } }));
    const { status, text } = await this.ask(admin, { method: 'POST', url: '', body: { resourceType: 'Bundle', type: 'transaction', entry } });
    if (status !== 200) throw new Error(`a transaction was answered by ${status}: ${text}`);
  }

  async remove(type: string, id: string): Promise<void> {
    await this.ask(admin, { method: 'DELETE', url: `${type}/${id}` });
  }

  /** A link to a second page that somebody else was given. */
  async foreignLink(): Promise<string> {
    return (await this.ask(admin, { method: 'GET', url: 'Observation?_count=1' })).next!;
  }

  close(): Promise<void> {
    return this.#fhir.close();
  }
}

/** Ids that a server makes, times of recording and sealed links are all that two servers may answer differently. */
function replyOf(status: number, headers: Readonly<Record<string, string>>, text: string): Reply {
  const next = /"relation":"next","url":"https:\/\/localhost\/fhir\/R4\/([^"]+)"/.exec(text)?.[1];
  const names = new Map<string, string>();
  const alike = [...Object.entries(headers).filter(([name]) => name !== 'Last-Modified').map(([name, value]) => `${name}: ${value}`).sort(), text].join('\n')
    .replace(/_cursor=[\w-]+/g, '_cursor=…')
    .replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g, 'recorded')
    .replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, (id) => {
      if (!names.has(id)) names.set(id, `made-${names.size}`);
      return names.get(id)!;
    });
  return { status, text: alike, next };
}

const patientOf = (id: string) => ({ reference: `Patient/${id}` });
const loinc = (code: string) => ({ coding: [{ system: 'http://loinc.org', code }] });
const mrn = (value: string) => [{ system: 'urn:mrn', value }];

/** What is known to everybody, and what the caller's own patient has: the same in each world. */
export function ownResources(): Resource[] {
  const own = (resourceType: string, id: string, more: Json): Resource => ({ resourceType, id, ...more });
  return [
    own('Organization', 'org', { name: 'Clinic' }), own('Practitioner', 'doc', { name: [{ family: 'Doc' }] }), own('Practitioner', 'doc2', { name: [{ family: 'Other' }] }), own('Location', 'ward', { name: 'Ward' }),
    own('Patient', 'me', { identifier: mrn('0'), name: [{ family: 'Own' }], gender: 'female', birthDate: '1980', generalPractitioner: [{ reference: 'Practitioner/doc' }], managingOrganization: { reference: 'Organization/org' } }),
    own('Encounter', 'own-enc', { status: 'finished', class: { code: 'AMB' }, subject: patientOf('me'), location: [{ location: { reference: 'Location/ward' } }], participant: [{ individual: { reference: 'Practitioner/doc2' } }] }),
    ...Array.from({ length: 8 }, (_, n) => own('Observation', `own-obs${n}`, { status: 'final', code: loinc(String(n % 3)), category: [{ coding: [{ code: 'laboratory' }] }], subject: patientOf('me'), encounter: { reference: 'Encounter/own-enc' }, valueQuantity: { value: n }, effectiveDateTime: `202${n % 4}-01-01`, performer: [{ reference: 'Practitioner/doc' }] })),
    own('Condition', 'own-cond', { code: { text: 'own' }, subject: patientOf('me'), encounter: { reference: 'Encounter/own-enc' } }),
    own('DocumentReference', 'own-doc', { status: 'current', subject: patientOf('me'), content: [{ attachment: { contentType: 'text/plain', url: 'Binary/own-bin' } }] }),
    own('Binary', 'own-bin', { contentType: 'text/plain', data: 'b3du', securityContext: { reference: 'DocumentReference/own-doc' } }),
    own('List', 'own-list', { status: 'current', mode: 'working', subject: patientOf('me'), entry: [{ item: { reference: 'Observation/own-obs0' } }] }),
  ];
}

/** Own resources that lead to others', which exist in each world. */
export function ownLinks(): Resource[] {
  return [
    { resourceType: 'Observation', id: 'own-derived', status: 'final', code: loinc('1'), subject: patientOf('me'), derivedFrom: [{ reference: 'Observation/x0' }], hasMember: [{ reference: 'Observation/x1' }], effectiveDateTime: '2022' },
    { resourceType: 'Condition', id: 'own-linked', subject: patientOf('me'), code: { text: 'linked' }, encounter: { reference: 'Encounter/x0' } },
    { resourceType: 'Composition', id: 'own-comp', status: 'final', type: loinc('1'), subject: patientOf('me'), date: '2022', title: 'Own', author: [{ reference: 'Practitioner/doc' }], section: [{ title: 's', entry: [{ reference: 'Observation/x0' }] }] },
  ];
}

export const otherIds = Array.from({ length: 14 }, (_, n) => `x${n}`);
const everywhere = 4;

/** Types of which other patients have some, and how one is made; each may lead to what is the caller's own. */
const makers: Readonly<Record<string, (random: Random, owner: string) => Json>> = {
  Encounter: (random, owner) => ({ status: random.pick(['finished', 'in-progress']), class: { code: 'IMP' }, subject: patientOf(owner), participant: [{ individual: { reference: 'Practitioner/doc2' } }], period: { start: '2020-01-01' }, identifier: mrn(String(random.below(6))) }),
  Observation: (random, owner) => ({ status: 'final', code: loinc(String(random.below(3))), category: [{ coding: [{ code: random.pick(['laboratory', 'vital-signs']) }] }], subject: patientOf(owner), valueQuantity: { value: random.below(9) }, effectiveDateTime: `202${random.below(4)}`, ...(random.chance(0.5) ? { derivedFrom: [{ reference: `Observation/own-obs${1 + random.below(7)}` }] } : {}), ...(random.chance(0.4) ? { encounter: { reference: 'Encounter/own-enc' } } : {}), performer: [{ reference: 'Practitioner/doc' }], identifier: mrn(String(random.below(6))) }),
  Condition: (random, owner) => ({ subject: patientOf(owner), code: { text: random.pick(['own', 'other']) }, ...(random.chance(0.5) ? { encounter: { reference: 'Encounter/own-enc' } } : {}), identifier: mrn(String(random.below(6))) }),
  DocumentReference: (random, owner) => ({ status: 'current', subject: patientOf(owner), identifier: mrn(String(random.below(6))), content: [{ attachment: { contentType: 'text/plain', url: 'Binary/x0' } }] }),
  List: (random, owner) => ({ status: 'current', mode: 'working', subject: patientOf(owner), entry: [{ item: { reference: `Observation/own-obs${random.below(8)}` } }] }),
  Task: (random) => ({ status: 'requested', intent: 'order', focus: { reference: `Observation/own-obs${random.below(8)}` }, identifier: mrn(String(random.below(6))) }),
  Basic: (random) => ({ code: { text: random.pick(['a', 'b']) }, identifier: mrn(String(random.below(6))) }),
  QuestionnaireResponse: (random, owner) => ({ status: random.pick(['completed', 'amended']), subject: patientOf(owner) }),
};

/** Types that attempts ask about. */
export const otherTypes = ['Patient', ...Object.keys(makers), 'Binary'];

/** Fills a world with what the caller must not learn of: patients who exist here or there, with other data, versions and deletions. */
export async function loadOthers(world: World, random: Random): Promise<void> {
  const present = otherIds.filter((_, n) => n < everywhere || random.chance(0.5));
  await world.loadAll(present.map((id) => ({ resourceType: 'Patient', id, identifier: mrn(String(random.below(6))), name: [{ family: random.pick(['Own', 'Other', 'Third']) }], gender: random.pick(['female', 'male']), birthDate: `19${10 + random.below(80)}`, generalPractitioner: [{ reference: 'Practitioner/doc' }] })));
  for (const [type, make] of Object.entries(makers)) {
    const ids = otherIds.filter((_, n) => n < everywhere || random.chance(0.5));
    for (let wave = 0; wave < 3; wave += 1) {
      const changed = ids.filter(() => wave === 0 || random.chance(0.4));
      if (changed.length > 0) await world.loadAll(changed.map((id) => ({ resourceType: type, id, ...make(random, random.pick(present)) })));
    }
    for (const id of ids.slice(everywhere)) if (random.chance(0.2)) await world.remove(type, id);
  }
  for (const [n, id] of otherIds.entries()) {
    if (n < everywhere || random.chance(0.5)) await world.load({ resourceType: 'Binary', id, contentType: 'text/plain', data: Buffer.from(`other ${random.below(1_000)}`).toString('base64'), ...(random.chance(0.7) ? { securityContext: { reference: `DocumentReference/x${random.below(everywhere)}` } } : {}) });
  }
}
