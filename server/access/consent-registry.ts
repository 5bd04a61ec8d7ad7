import type { ValueContext } from '../../resources/search-values/index.ts';
import type { Store, StoredVersion } from '../storage/contract.ts';
import { Affiliations, type Standing } from './consent-affiliations.ts';
import { ConsentLimit } from './consent-limit.ts';
import { provisionsOf, readConsent, type ConsentRule, type Verdict } from './consent-model.ts';
import type { AccessContext } from './context.ts';
import { referencesIn } from './references-in.ts';

export interface ConsentOptions {
  readonly store: Pick<Store, 'recorded' | 'versionsAt' | 'search' | 'readMany'>;
  readonly values: ValueContext;
  readonly nowMs: () => number;
  /** What holds for patients without a consent: `deny` where data is shared by opt-in only. */
  readonly otherwise: Verdict;
  /** Organisations (`Organization/…`) whose consents have another base than the rest of the installation. */
  readonly organizations: ReadonlyMap<string, Verdict>;
  /** Consents that are held in full; of patients beyond, nothing but that they have one, and so are closed. */
  readonly maxRules?: number;
}

/** How old what is known may be: another process's write counts within this time, this process's own at once. */
const staleAfterMs = 1_000;
/** How much the clocks of writers and the lengths of their transactions may differ. */
const windowMs = 180_000;
const maxRelated = 1_000;

/**
 * The privacy consents in force, held in memory and kept up to date with whatever any process writes. Without any, all that
 * a request costs is one look at that.
 */
export class ConsentRegistry {
  readonly #options: ConsentOptions;
  readonly #affiliations: Affiliations;
  #rules = new Map<string, { readonly order: bigint; readonly rule: ConsentRule }>();
  #byPatient = new Map<string, ConsentRule[]>();
  #known = new Set<bigint>();
  #others = '';
  #related: ReadonlyMap<string, ReadonlySet<string>> = new Map();
  #usesAffiliations = false;
  #checkedMs = -Infinity;
  #isDirty = true;
  #isLoaded = false;
  #checking: Promise<void> | undefined;
  #revision = 0;

  constructor(options: ConsentOptions) {
    this.#options = options;
    this.#affiliations = new Affiliations(options.store, options.values, options.nowMs);
  }

  /** The limit that consents put on a caller; decided anew whenever it is asked. */
  limitFor(context: AccessContext): ConsentLimit {
    return new ConsentLimit(this, context);
  }

  /** Told of what this process wrote, so that it counts at once. */
  written(type: string): void {
    if (this.#watched.includes(type)) this.#isDirty = true;
  }

  /**
   * Resolves when what is known is fresh; undefined if it is already.
   * @throws InterlockError `unavailable`: while the consents cannot be read, nothing is disclosed
   */
  ready(): Promise<void> | undefined {
    if (!this.#isDirty && performance.now() - this.#checkedMs < staleAfterMs) return undefined;
    return this.#refresh();
  }

  /** Rises whenever anything changes that decisions rest on. */
  get revision(): number {
    return this.#revision;
  }

  get otherwise(): Verdict {
    return this.#options.otherwise;
  }

  get nowMs(): number {
    return this.#options.nowMs();
  }

  get facts(): { readonly values: ValueContext; readonly related: ReadonlyMap<string, ReadonlySet<string>> } {
    return { values: this.#options.values, related: this.#related };
  }

  /** Consents by patient: of every patient who has one. */
  get byPatient(): ReadonlyMap<string, readonly ConsentRule[]> {
    return this.#byPatient;
  }

  /** True if no decision can be anything but yes. */
  get isOpen(): boolean {
    return this.#isLoaded && this.#byPatient.size === 0 && this.#options.otherwise === 'permit';
  }

  /** For whom a person stands; undefined while that must be looked up by {@link standingOf}. */
  knownStanding(fhirUser: string | undefined): Standing | undefined {
    return fhirUser === undefined || !this.#usesAffiliations ? { certain: new Set(fhirUser === undefined ? [] : [fhirUser]), possible: new Set() } : this.#affiliations.known(fhirUser);
  }

  async standingOf(fhirUser: string): Promise<Standing> {
    return this.#affiliations.of(fhirUser);
  }

  get #watched(): readonly string[] {
    return ['Consent', ...this.#otherTypes()];
  }

  #otherTypes(): string[] {
    return [...new Set([...(this.#usesAffiliations ? ['PractitionerRole', 'CareTeam', 'Organization'] : []), ...[...this.#related.keys()].map((reference) => reference.split('/')[0]!)])].sort();
  }

  async #refresh(): Promise<void> {
    // What is written while a check runs needs another.
    if (this.#checking !== undefined && this.#isDirty) await this.#checking.catch(() => undefined);
    this.#checking ??= this.#check().finally(() => (this.#checking = undefined));
    await this.#checking;
  }

  async #check(): Promise<void> {
    const { store } = this.#options;
    const startedMs = performance.now();
    this.#isDirty = false;
    try {
      const sinceMs = this.#isLoaded ? Date.now() - windowMs : 0;
      const orders = await store.recorded(['Consent'], sinceMs);
      const fresh = orders.filter((order) => !this.#known.has(order));
      for await (const versions of store.versionsAt('Consent', fresh)) this.#apply(versions);
      this.#known = new Set(orders);
      if (fresh.length > 0 || !this.#isLoaded) await this.#regroup();
      const others = this.#otherTypes();
      const recorded = others.length === 0 ? '' : `${others.join()}:${(await store.recorded(others, Date.now() - windowMs)).slice(-1_000).join()}`;
      if (recorded !== this.#others) {
        this.#affiliations.forget();
        await this.#relate();
        this.#others = recorded;
        this.#revision += 1;
      }
      this.#isLoaded = true;
      this.#checkedMs = startedMs;
    } catch (error) {
      this.#isDirty = true;
      throw error;
    }
  }

  #apply(versions: readonly StoredVersion[]): void {
    const { values, organizations } = this.#options;
    for (const version of versions) {
      const held = this.#rules.get(version.id);
      if (held !== undefined && held.order > version.order) continue;
      const rule = version.deleted ? undefined : readConsent(version.resource(), values, (organization) => organizations.get(organization));
      if (rule === undefined) this.#rules.delete(version.id);
      else this.#rules.set(version.id, { order: version.order, rule: this.#isFull(version.id) ? { id: rule.id, patient: rule.patient, base: 'deny', root: undefined } : rule });
    }
  }

  #isFull(id: string): boolean {
    return !this.#rules.has(id) && this.#rules.size >= (this.#options.maxRules ?? 100_000);
  }

  async #regroup(): Promise<void> {
    const rules = [...this.#rules.values()].map(({ rule }) => rule);
    // Where everything is permitted anyway, what denies nothing need not be looked at.
    const limiting = this.#options.otherwise === 'deny' ? rules : rules.filter(({ base, root }) => base === 'deny' || [...provisionsOf(root)].some(({ type }) => type === 'deny'));
    this.#byPatient = Map.groupBy(limiting, ({ patient }) => patient);
    this.#usesAffiliations = limiting.some(({ root }) => [...provisionsOf(root)].some(({ actors }) => actors.some(({ reference }) => reference !== undefined && /^(?:Organization|CareTeam|PractitionerRole)\//.test(reference))));
    await this.#relate();
    this.#revision += 1;
  }

  /** What resources refer to that provisions name with what is related to them. */
  async #relate(): Promise<void> {
    const references = [...this.#byPatient.values()].flat().flatMap(({ root }) => [...provisionsOf(root)].flatMap(({ data }) => data.flatMap(({ meaning, reference }) => (meaning === 'related' && reference !== undefined ? [reference] : []))));
    const keys = [...new Set(references)].slice(0, maxRelated).map((reference) => ({ type: reference.split('/')[0]!, id: reference.split('/')[1]! }));
    const found = keys.length === 0 ? [] : await this.#options.store.readMany(keys);
    this.#related = new Map(keys.map(({ type, id }) => {
      const version = found.find((one) => one.type === type && one.id === id);
      const named = version === undefined || version.deleted ? [] : referencesIn(version.resource(), this.#options.values.baseUrl).map((one) => `${one.type}/${one.id}`);
      return [`${type}/${id}`, new Set(named)] as const;
    }));
  }
}
