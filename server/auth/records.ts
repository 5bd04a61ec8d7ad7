import { InterlockError } from '../../resources/outcome/error.ts';
import type { TokenFacts } from '../access/context.ts';
import { contextFromToken } from '../access/grants.ts';
import { GuardedRepository, type GuardServices } from '../access/guard.ts';
import type { ResourceScope } from '../access/scopes.ts';
import { atPresent } from '../access/standing.ts';
import { parseSearch } from '../search/parse.ts';
import type { ResourceJson, StoredVersion } from '../storage/contract.ts';
import type { RequestFacts } from './audit.ts';
import type { Person } from './people.ts';

/** On whose behalf the record is looked at, and for which app. */
export interface Asker {
  readonly person: Person;
  readonly client: { readonly clientId: string; readonly clientName: string };
  readonly facts: RequestFacts;
}

/** What a clinician searches a patient by; at least a whole identifier, three letters of a name, or two and the birth date. */
export interface PatientQuery {
  readonly name: string;
  readonly birthDate: string;
  readonly identifier: string;
}

/** A search result as it is offered for choice. */
export interface Choosable {
  readonly id: string;
  readonly title: string;
  readonly detail: string;
}

/** The first few matches; `isCut` if there are more. */
export interface Found {
  readonly matches: readonly Choosable[];
  readonly isCut: boolean;
}

/** How many records a scope would release. */
export type Count = { readonly most: number } | { readonly atLeast: number } | 'not-permitted';

const maxOffered = 10;
const maxCounted = 1_000;

/** True if a query is narrow enough to be searched. */
export function isNarrow({ name, birthDate, identifier }: PatientQuery): boolean {
  if (birthDate !== '' && !/^\d{4}-\d{2}-\d{2}$/.test(birthDate)) return false;
  const letters = name.replace(/[^\p{L}]/gu, '').length;
  return identifier.length >= 3 || letters >= 3 || (letters >= 2 && birthDate !== '');
}

/** The record as the sign-in pages look at it: through the guarded repository, as the person, every search audited. */
export class PersonalRecords {
  readonly #guard: GuardServices;

  constructor(guard: GuardServices) {
    this.#guard = guard;
  }

  /** Patients whom the person may see. @throws InterlockError `forbidden` */
  async patients(asker: Asker, { name, birthDate, identifier }: PatientQuery): Promise<Found> {
    const pairs: [string, string][] = [
      ...name.split(/\s+/).filter(Boolean).map((word): [string, string] => ['name', escaped(word)]),
      ...(birthDate === '' ? [] : [['birthdate', birthDate] as [string, string]]),
      ...(identifier === '' ? [] : [['identifier', escaped(identifier)] as [string, string]]),
    ];
    return this.#search(asker, 'user/Patient.rs', {}, 'Patient', pairs, patientLine);
  }

  /** A patient whom the person may see. @throws InterlockError `forbidden`, `not-found`, `deleted` */
  async patient(asker: Asker, id: string): Promise<Choosable> {
    const repository = await this.#as(asker, 'user/Patient.r patient/Patient.r', { patient: id });
    return patientLine(await repository.read('Patient', id));
  }

  /** Encounters of a patient since a day, newest first. @throws InterlockError `forbidden` */
  async encounters(asker: Asker, patient: string, since: string): Promise<Found> {
    return this.#search(asker, 'patient/Encounter.rs', { patient }, 'Encounter', [['date', `ge${since}`], ['_sort', '-date']], encounterLine);
  }

  /** An encounter of this patient that the person may see. @throws InterlockError `forbidden`, `not-found`, `deleted` */
  async encounter(asker: Asker, patient: string, id: string): Promise<Choosable> {
    const version = await (await this.#as(asker, 'patient/Encounter.r', { patient })).read('Encounter', id);
    if (!version.patients().includes(patient)) throw new InterlockError('not-found');
    return encounterLine(version);
  }

  /** How many records a scope would release to this person's app. */
  async count(asker: Asker, scope: ResourceScope, patient: string | undefined): Promise<Count> {
    const at = scope.text.indexOf('?');
    const searching = `${scope.level}/${scope.type}.rs${at < 0 ? '' : scope.text.slice(at)}`;
    const repository = await this.#as(asker, searching, patient === undefined ? {} : { patient });
    if (repository.context.grants.length === 0) return 'not-permitted';
    const asked = parseSearch(scope.type === '*' ? undefined : scope.type, [['_summary', 'count']], { strict: true });
    try {
      const { total } = await repository.search(asked, '_summary=count');
      return total === undefined || total > maxCounted ? { atLeast: maxCounted } : { most: total };
    } catch (error) {
      if (error instanceof InterlockError && error.code === 'too-costly') return { atLeast: maxCounted };
      if (error instanceof InterlockError && error.code === 'forbidden') return 'not-permitted';
      throw error;
    }
  }

  async #search(asker: Asker, scope: string, launch: NonNullable<TokenFacts['launch']>, type: string, pairs: readonly (readonly [string, string])[], line: (version: StoredVersion) => Choosable): Promise<Found> {
    const asked = parseSearch(type, [...pairs, ['_count', String(maxOffered + 1)], ['_total', 'none']], { strict: true });
    const query = new URLSearchParams(pairs.map(([name, value]): [string, string] => [name, value])).toString();
    const { matches } = await (await this.#as(asker, scope, launch)).search(asked, query);
    return { matches: matches.slice(0, maxOffered).map(line), isCut: matches.length > maxOffered };
  }

  async #as({ person, client, facts }: Asker, scope: string, launch: NonNullable<TokenFacts['launch']>): Promise<GuardedRepository> {
    const { id, username, role, fhirUser, proxyFor } = person;
    const token: TokenFacts = { ...client, scope, user: { id, username, role, ...(fhirUser === undefined ? {} : { fhirUser }), ...(proxyFor === undefined ? {} : { proxyFor }) }, launch, expiresAtMs: this.#guard.nowMs() };
    return new GuardedRepository(this.#guard, await atPresent(contextFromToken(token, facts), this.#guard));
  }
}

// What means something in a search parameter's value is meant literally here.
function escaped(value: string): string {
  return value.replace(/[\\,$|]/g, String.raw`\$&`);
}

function patientLine(version: StoredVersion): Choosable {
  const { name, birthDate, gender, identifier } = version.resource() as ResourceJson & PatientParts;
  const [first] = name ?? [];
  const full = first?.text ?? [...(first?.given ?? []), first?.family].filter((part) => part !== undefined).join(' ');
  const number = identifier?.find(({ value }) => value !== undefined)?.value;
  return { id: version.id, title: full === '' ? 'No name on record' : full, detail: [birthDate === undefined ? undefined : `born ${birthDate}`, gender, number].filter((part) => part !== undefined).join(', ') };
}

function encounterLine(version: StoredVersion): Choosable {
  const { period, status, class: kind, type } = version.resource() as ResourceJson & EncounterParts;
  const what = type?.[0]?.text ?? type?.[0]?.coding?.[0]?.display ?? visitNames[kind?.code ?? ''] ?? kind?.display ?? 'Visit';
  const when = [...new Set([period?.start?.slice(0, 10), period?.end?.slice(0, 10)].filter((part) => part !== undefined))].join(' to ');
  return { id: version.id, title: what, detail: [when, status].filter((part) => part !== undefined && part !== '').join(', ') };
}

/** Everyday names of the codes of [ActEncounterCode](https://terminology.hl7.org/ValueSet-v3-ActEncounterCode.html). */
const visitNames: Readonly<Record<string, string>> = {
  ACUTE: 'Acute inpatient stay',
  AMB: 'Outpatient visit',
  EMER: 'Emergency visit',
  FLD: 'Visit in the field',
  HH: 'Home visit',
  IMP: 'Inpatient stay',
  NONAC: 'Non-acute inpatient stay',
  OBSENC: 'Observation stay',
  PRENC: 'Pre-admission visit',
  SS: 'Short stay',
  VR: 'Virtual visit',
};

interface PatientParts {
  readonly name?: readonly { readonly text?: string; readonly family?: string; readonly given?: readonly string[] }[];
  readonly birthDate?: string;
  readonly gender?: string;
  readonly identifier?: readonly { readonly value?: string }[];
}

interface EncounterParts {
  readonly status?: string;
  readonly period?: { readonly start?: string; readonly end?: string };
  readonly class?: { readonly code?: string; readonly display?: string };
  readonly type?: readonly { readonly text?: string; readonly coding?: readonly { readonly display?: string }[] }[];
}
