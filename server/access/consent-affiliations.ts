import { searchParamsOf } from '../../resources/definitions/index.ts';
import type { ValueContext } from '../../resources/search-values/index.ts';
import type { ResourceJson, Store } from '../storage/contract.ts';
import { isObject, list, spanOf } from './consent-model.ts';

/** References that stand for a person: certainly, or only perhaps. */
export interface Standing {
  readonly certain: ReadonlySet<string>;
  readonly possible: ReadonlySet<string>;
}

const maxPeople = 1_000;
const maxFound = 1_000;
const maxLevels = 8;

/** The roles, organisations and care teams that people belong to, as the record says. */
export class Affiliations {
  readonly #store: Pick<Store, 'search' | 'readMany'>;
  readonly #values: ValueContext;
  readonly #nowMs: () => number;
  readonly #held = new Map<string, { readonly standing: Standing; readonly untilMs: number }>();

  constructor(store: Pick<Store, 'search' | 'readMany'>, values: ValueContext, nowMs: () => number) {
    this.#store = store;
    this.#values = values;
    this.#nowMs = nowMs;
  }

  /** What is known of a person already. Memberships end by time too, so that it is known for a minute. */
  known(fhirUser: string): Standing | undefined {
    const held = this.#held.get(fhirUser);
    return held !== undefined && held.untilMs > performance.now() ? held.standing : undefined;
  }

  forget(): void {
    this.#held.clear();
  }

  /** For whom a person (`Practitioner/…`) stands. */
  async of(fhirUser: string): Promise<Standing> {
    const held = this.known(fhirUser);
    if (held !== undefined) return held;
    const standing = await this.#find(fhirUser);
    if (this.#held.size >= maxPeople) this.#held.clear();
    this.#held.set(fhirUser, { standing, untilMs: performance.now() + 60_000 });
    return standing;
  }

  async #find(fhirUser: string): Promise<Standing> {
    const certain = new Set([fhirUser]);
    const possible = new Set<string>();
    const own = [...(await this.#naming('PractitionerRole', 'practitioner', fhirUser)), ...(fhirUser.startsWith('PractitionerRole/') ? await this.#read([fhirUser]) : [])];
    for (const role of own) {
      const into = role['active'] !== false && this.#isCurrent(role['period']) ? certain : possible;
      into.add(`PractitionerRole/${role.id ?? ''}`);
      for (const reference of this.#referencesOf([role['organization'], role['practitioner']])) into.add(reference);
    }
    for (const member of [...certain].filter((reference) => /^(?:Practitioner|PractitionerRole)\//.test(reference))) {
      for (const team of await this.#naming('CareTeam', 'participant', member)) {
        const isMember = list(team['participant']).some((one) => isObject(one) && this.#referencesOf([one['member']]).includes(member) && this.#isCurrent(one['period']));
        const isActive = (team['status'] === undefined || team['status'] === 'active') && this.#isCurrent(team['period']);
        (isMember && isActive ? certain : possible).add(`CareTeam/${team.id ?? ''}`);
      }
    }
    let organizations = [...certain, ...possible].filter((reference) => reference.startsWith('Organization/'));
    for (let level = 0; level < maxLevels && organizations.length > 0; level += 1) {
      const above = (await this.#read(organizations)).flatMap((one) => this.#referencesOf([one['partOf']]));
      organizations = above.filter((reference) => !certain.has(reference) && !possible.has(reference));
      for (const reference of organizations) possible.add(reference);
    }
    return { certain, possible };
  }

  async #naming(type: string, code: string, reference: string): Promise<ResourceJson[]> {
    const [target, id] = reference.split('/') as [string, string];
    const found: ResourceJson[] = [];
    let after: string | undefined;
    do {
      const page = await this.#store.search({ types: [type], where: { op: 'param', param: searchParamsOf(type).get(code)!, of: [{ kind: 'reference', type: target, id }] }, sort: [], count: maxFound, total: 'none', ...(after === undefined ? {} : { after }) });
      found.push(...page.matches.map((version) => version.resource()));
      after = page.next;
    } while (after !== undefined);
    return found;
  }

  async #read(references: readonly string[]): Promise<ResourceJson[]> {
    const keys = references.slice(0, maxFound).map((reference) => ({ type: reference.split('/')[0]!, id: reference.split('/')[1]! }));
    return (await this.#store.readMany(keys)).filter(({ deleted }) => !deleted).map((version) => version.resource());
  }

  #referencesOf(nodes: readonly unknown[]): string[] {
    const base = this.#values.baseUrl?.replace(/\/?$/, '/') ?? '';
    return nodes.flatMap((node) => {
      const text = isObject(node) && typeof node['reference'] === 'string' ? node['reference'] : '';
      const local = base !== '' && text.startsWith(base) ? text.slice(base.length) : text;
      const found = /^([A-Za-z]+)\/([A-Za-z0-9\-.]{1,64})(?:\/_history\/.+)?$/.exec(local);
      return found === null ? [] : [`${found[1]!}/${found[2]!}`];
    });
  }

  #isCurrent(period: unknown): boolean {
    const span = spanOf(period, this.#values.zone);
    if (span === undefined || span === 'maybe') return span === undefined;
    return span.lo <= this.#nowMs() && this.#nowMs() < span.hi;
  }
}
