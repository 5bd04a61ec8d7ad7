import { InterlockError } from '../../resources/outcome/error.ts';
import { dateRange, referenceValue, type ValueContext } from '../../resources/search-values/index.ts';
import type { Criterion } from '../search/criteria.ts';
import { parseSearch } from '../search/parse.ts';
import type { ResourceJson, Store, StoredVersion } from '../storage/contract.ts';
import type { AccessContext, Grant } from './context.ts';

/** How long it may take until a change of who cares for whom is seen; practitioners remembered; resources that may be looked at. */
export const careLimits = { heldMs: 10_000, practitioners: 2_000, patients: 1_000, examined: 5_000 } as const;

const pageSize = 1_000;
const over: ReadonlySet<unknown> = new Set(['finished', 'cancelled', 'entered-in-error', 'planned', 'unknown']);
const present: ReadonlySet<unknown> = new Set(['arrived', 'triaged', 'in-progress', 'onleave']);

interface Period {
  readonly start?: string;
  readonly end?: string;
}

interface Options {
  readonly store: Pick<Store, 'search'>;
  readonly nowMs: () => number;
  readonly values: ValueContext;
}

/**
 * Who is in whose care: patients whose general practitioner a person is, whose active care team the person is a member of, or
 * who have an encounter now in which the person takes part; also by way of the person's PractitionerRoles. Looked up by the
 * server for itself, for it decides about access and discloses nothing.
 */
export class OwnPatients {
  readonly #options: Options;
  readonly #held = new Map<string, { readonly patients: Promise<readonly string[]>; readonly untilMs: number }>();

  constructor(options: Options) {
    this.#options = options;
  }

  /** The context with its grants for a person's own patients made definite. @throws InterlockError `too-costly` */
  async confine(context: AccessContext): Promise<AccessContext> {
    const of = context.grants.find(({ careOf }) => careOf !== undefined)?.careOf;
    if (of === undefined) return context;
    const patients = await this.of(of);
    const grants = context.grants.flatMap((grant): Grant[] => {
      if (grant.careOf === undefined) return [grant];
      const { careOf: _, patient, ...rest } = grant;
      if (patient === undefined) return [{ ...rest, patients }];
      return patients.includes(patient) ? [{ ...rest, patient }] : [{ ...rest, patients: [] }];
    });
    return { ...context, grants };
  }

  /** Logical ids of the patients in a practitioner's care. @param practitioner `Practitioner/…` */
  async of(practitioner: string): Promise<readonly string[]> {
    const nowMs = this.#options.nowMs();
    const held = this.#held.get(practitioner);
    if (held !== undefined && held.untilMs > nowMs) return held.patients;
    const patients = this.#lookUp(practitioner, nowMs);
    this.#held.delete(practitioner);
    if (this.#held.size >= careLimits.practitioners) this.#held.delete(this.#held.keys().next().value!);
    this.#held.set(practitioner, { patients, untilMs: nowMs + careLimits.heldMs });
    patients.catch(() => this.#held.delete(practitioner));
    return patients;
  }

  async #lookUp(practitioner: string, nowMs: number): Promise<readonly string[]> {
    const roles = await this.#find('PractitionerRole', [['practitioner', practitioner]]);
    const selves = new Set([practitioner, ...roles.filter((role) => role['active'] !== false && this.#covers(role['period'], nowMs)).map(({ id }) => `PractitionerRole/${id ?? ''}`)]);
    const names = [...selves].join(',');
    const [patients, teams, encounters] = await Promise.all([
      this.#find('Patient', [['general-practitioner', names]]),
      this.#find('CareTeam', [['participant', names]]),
      this.#find('Encounter', [['participant', names], ['status', [...present].join(',')]]),
    ]);
    const isSelf = (reference: unknown): boolean => selves.has(this.#local(reference));
    const found = new Set(patients.map(({ id }) => id!));
    const add = (resource: ResourceJson, subject: unknown): void => {
      const reference = this.#local(subject);
      if (reference.startsWith('Patient/') && this.#covers(resource['period'], nowMs)) found.add(reference.slice('Patient/'.length));
    };
    for (const team of teams) {
      const members = (team['participant'] ?? []) as readonly { readonly member?: unknown; readonly period?: unknown }[];
      if ((team['status'] ?? 'active') === 'active' && members.some(({ member, period }) => isSelf(member) && this.#covers(period, nowMs))) add(team, team['subject']);
    }
    for (const encounter of encounters) {
      const members = (encounter['participant'] ?? []) as readonly { readonly individual?: unknown; readonly period?: unknown }[];
      if (!over.has(encounter['status']) && members.some(({ individual, period }) => isSelf(individual) && this.#covers(period, nowMs))) add(encounter, encounter['subject']);
    }
    if (found.size > careLimits.patients) throw tooMany();
    return [...found].sort();
  }

  async #find(type: string, query: readonly (readonly [string, string])[]): Promise<ResourceJson[]> {
    const { where } = parseSearch(type, query, { strict: true });
    const found: StoredVersion[] = [];
    for (let after: string | undefined; ; ) {
      const page = await this.#options.store.search({ types: [type], where: where as Criterion, sort: [], count: pageSize, total: 'none', ...(after === undefined ? {} : { after }) });
      found.push(...page.matches);
      after = page.next;
      if (after === undefined) return found.map((version) => version.resource());
      if (found.length >= careLimits.examined) throw tooMany();
    }
  }

  /** `Type/id` of what a Reference leads to on this server; empty for any other. */
  #local(reference: unknown): string {
    const text = (reference as { readonly reference?: unknown } | undefined)?.reference;
    const value = typeof text === 'string' ? referenceValue(text, this.#options.values.baseUrl) : undefined;
    return value?.type === undefined || value.id === undefined ? '' : `${value.type}/${value.id}`;
  }

  /** True if a period, where there is one, includes the time. */
  #covers(period: unknown, nowMs: number): boolean {
    const { start, end } = (period ?? {}) as Period;
    const [from, to] = [start, end].map((text) => (text === undefined ? undefined : dateRange(text, this.#options.values.zone)));
    if ((start !== undefined && from === undefined) || (end !== undefined && to === undefined)) return false;
    return (from === undefined || from.lo <= nowMs) && (to === undefined || nowMs < to.hi);
  }
}

/** Access to some of them only would not show as a mistake. */
function tooMany(): InterlockError {
  return new InterlockError('too-costly', { detail: 'Too many patients are in the care of this person for a role that is confined to them.', rule: `compartment: more than ${careLimits.patients} own patients` });
}
