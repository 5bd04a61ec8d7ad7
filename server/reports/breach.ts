import { randomUUID } from 'node:crypto';
import { InterlockError } from '../../resources/outcome/error.ts';
import { GuardedRepository, type GuardServices } from '../access/guard.ts';
import { contextOfOperator } from '../access/operator-context.ts';
import { deadlinesOf, isJurisdiction, outside, stateOf, threshold, unknownState, type BreachFacts } from './breach-clock.ts';
import type { AffectedPatient, BreachQuestion, BreachScope } from './breach-scope.ts';
import { csvRow } from './csv.ts';
import { maxPdfRows, type PdfPart, type PdfReport } from './pdf-table.ts';

/** What a letter needs, from the Patient's record. */
export interface Addressee {
  readonly name?: string;
  readonly lines?: readonly string[];
  readonly city?: string;
  readonly postalCode?: string;
  readonly country?: string;
  /** Code of the state, {@link outside} or {@link unknownState}. */
  readonly state: string;
  readonly language?: string;
  /** A letter goes to the next of kin (164.404(d)(1)(ii)). */
  readonly deceased: boolean;
  /** The record could not be read: it was deleted, or may not be. */
  readonly unread: boolean;
}

interface PatientContent {
  readonly name?: readonly { readonly use?: string; readonly text?: string; readonly prefix?: readonly string[]; readonly given?: readonly string[]; readonly family?: string; readonly suffix?: readonly string[] }[];
  readonly address?: readonly { readonly use?: string; readonly line?: readonly string[]; readonly city?: string; readonly state?: string; readonly postalCode?: string; readonly country?: string }[];
  readonly communication?: readonly { readonly preferred?: boolean; readonly language?: { readonly text?: string; readonly coding?: readonly { readonly code?: string; readonly display?: string }[] } }[];
  readonly deceasedBoolean?: boolean;
  readonly deceasedDateTime?: string;
}

/** Reads what letters need of a Patient, as a job for the operator: each read is decided and audited like any other. */
export function addresseeReader(services: GuardServices, operator: string): (id: string) => Promise<Addressee> {
  return async (id) => {
    const context = contextOfOperator(operator, ['Patient'], randomUUID());
    try {
      const version = await new GuardedRepository(services, { ...context, actor: { kind: 'job', id: 'breach-report', onBehalfOf: operator } }).read('Patient', id);
      return addresseeOf(version.resource() as PatientContent);
    } catch (error) {
      if (error instanceof InterlockError && error.status < 500) return { state: unknownState, deceased: false, unread: true };
      throw error;
    }
  };
}

function addresseeOf({ name, address, communication, deceasedBoolean, deceasedDateTime }: PatientContent): Addressee {
  const best = name?.find(({ use }) => use === 'official') ?? name?.find(({ use }) => use === 'usual') ?? name?.[0];
  const spelled = best?.text ?? [...(best?.prefix ?? []), ...(best?.given ?? []), best?.family, ...(best?.suffix ?? [])].filter(Boolean).join(' ');
  const place = address?.find(({ use }) => use === 'home') ?? address?.find(({ use }) => use !== 'old' && use !== 'billing') ?? address?.[0];
  const spoken = communication?.find(({ preferred }) => preferred === true) ?? (communication?.length === 1 ? communication[0] : undefined);
  const language = spoken?.language?.text ?? spoken?.language?.coding?.[0]?.display ?? spoken?.language?.coding?.[0]?.code;
  return {
    ...(spelled === '' ? {} : { name: spelled }), ...(place?.line === undefined ? {} : { lines: place.line }), ...(place?.city === undefined ? {} : { city: place.city }),
    ...(place?.postalCode === undefined ? {} : { postalCode: place.postalCode }), ...(place?.country === undefined ? {} : { country: place.country }),
    state: stateOf(place), ...(language === undefined ? {} : { language }), deceased: deceasedBoolean === true || deceasedDateTime !== undefined, unread: false,
  };
}

/** Everything that a breach report says. */
export interface BreachReport {
  readonly question: BreachQuestion;
  readonly scope: BreachScope;
  readonly addressees: ReadonlyMap<string, Addressee>;
  readonly facts: BreachFacts & { readonly affected: number; readonly states: Readonly<Record<string, number>> };
  readonly site: string;
  readonly atMs: number;
}

/** Counts residents, so that the clocks can be told. */
export function breachReport(given: Omit<BreachReport, 'facts'> & { readonly discovered: string }): BreachReport {
  const counted = new Map<string, number>();
  for (const id of given.scope.patients.keys()) {
    const state = given.addressees.get(id)?.state ?? unknownState;
    counted.set(state, (counted.get(state) ?? 0) + 1);
  }
  const rank = ([state, residents]: readonly [string, number]): string => `${isJurisdiction(state) ? 0 : 1}${String(1e9 - residents)}${state}`;
  const states = Object.fromEntries([...counted].sort((a, b) => (rank(a) < rank(b) ? -1 : 1)));
  return { ...given, facts: { discovered: given.discovered, affected: given.scope.patients.size, states } };
}

const minute = (ms: number): string => new Date(ms).toISOString().slice(0, 16).replace('T', ' ');
const noticeNames = { individuals: 'Letters to the patients', media: 'Media', hhs: 'Secretary of HHS' } as const;
const few = 20;

/** The report for people. */
export function breachPdf({ question, scope, addressees, facts, site, atMs }: BreachReport): PdfReport {
  const { patients, versions, accesses, refused, firstMs, lastMs } = scope;
  const listed = (names: ReadonlySet<string>): string => (names.size === 0 ? 'None' : [...names].slice(0, few).join('; ') + (names.size > few ? ` and ${names.size - few} more` : ''));
  const asked = [['Application', question.client], ['User', question.user], ['Address', question.address], ['Device', question.device]].filter(([, value]) => value !== undefined) as [string, string][];
  const unread = [...addressees.values()].filter((one) => one.unread).length;
  const classes = new Map<string, { patients: number; versions: number }>();
  for (const patient of patients.values()) {
    for (const [words, count] of patient.classes) {
      const known = classes.get(words) ?? { patients: 0, versions: 0 };
      classes.set(words, { patients: known.patients + 1, versions: known.versions + count });
    }
  }
  const rows = [...patients.values()].sort((a, b) => (nameOf(a, addressees) < nameOf(b, addressees) ? -1 : 1));
  const parts: PdfPart[] = [
    { kind: 'facts', rows: [
      ...asked,
      ['Period', `${question.sinceMs === 0 ? 'the beginning' : minute(question.sinceMs)} to ${minute(question.untilMs)}`],
      ['Patients affected', String(patients.size)],
      ['Accesses', `${accesses}${firstMs === undefined ? '' : `, first ${minute(firstMs)}, last ${minute(lastMs!)}`}`],
      ['Versions disclosed', String(versions.length)],
      ['Refused attempts', `${refused}: they disclosed nothing`],
      ['Who acted', listed(scope.actors)],
      ['From', listed(scope.addresses)],
      ['With', listed(scope.devices)],
      ['Discovered', facts.discovered],
      ['Made', `${minute(atMs)} UTC, from the audit trail of ${site}. Times are UTC.`],
    ] },
    { kind: 'heading', text: 'Notices and their last days' },
    { kind: 'table', columns: [{ title: 'Notice', width: 20 }, { title: 'Last day', width: 13 }, { title: 'State', width: 17 }, { title: 'Why', width: 50 }], rows: deadlinesOf(facts, atMs).map(({ notice, due, state, daysLeft, why }) => [noticeNames[notice], due ?? 'none', daysLeft === undefined ? state : `${state}, ${daysLeft < 0 ? `${-daysLeft} days over` : `${daysLeft} days left`}`, why]) },
    { kind: 'text', text: `Counted from the discovery that was given. The media are told if more than ${threshold} residents of one state are affected; residents of unknown states count in none: look for their addresses first.` },
    { kind: 'heading', text: 'Residents per state' },
    { kind: 'table', columns: [{ title: 'State', width: 60 }, { title: 'Patients', width: 40 }], rows: Object.entries(facts.states).map(([state, residents]) => [state === unknownState || state === outside ? state[0]!.toUpperCase() + state.slice(1) : state, String(residents)]), empty: 'None.' },
    { kind: 'heading', text: 'Kinds of data' },
    { kind: 'table', columns: [{ title: 'Kind', width: 60 }, { title: 'Patients', width: 20 }, { title: 'Versions', width: 20 }], rows: [...classes].sort(([, a], [, b]) => b.patients - a.patients).map(([words, count]) => [words, String(count.patients), String(count.versions)]), empty: 'None is named in the audit trail.' },
    { kind: 'heading', text: 'Patients to be notified' },
    ...(unread === 0 ? [] : [{ kind: 'text', text: `${unread} records could not be read, as they were deleted or may not be read; their rows hold the patient's id only.` } as const]),
    { kind: 'table', columns: [{ title: 'Patient', width: 20 }, { title: 'Address', width: 26 }, { title: 'Language', width: 10 }, { title: 'First and last access', width: 19 }, { title: 'Kinds of data', width: 25 }], rows: rows.slice(0, maxPdfRows - 1_000).map((patient) => rowOf(patient, addressees)), empty: 'None.' },
    { kind: 'text', text: 'The same as tables for letters: patients.csv; every version that was disclosed: versions.csv.' },
  ];
  return { title: 'Breach report', footer: `${site}: breach report. Confidential.`, parts, at: new Date(atMs), landscape: true };
}

function nameOf({ id }: AffectedPatient, addressees: ReadonlyMap<string, Addressee>): string {
  return addressees.get(id)?.name ?? id;
}

function rowOf(patient: AffectedPatient, addressees: ReadonlyMap<string, Addressee>): string[] {
  const { lines = [], city, state, postalCode, country, language, deceased, name } = addressees.get(patient.id) ?? { state: unknownState };
  const where = [...lines, city, [isJurisdiction(state) ? state : undefined, postalCode].filter(Boolean).join(' '), country].filter(Boolean).join(', ');
  return [
    [name ?? `Patient/${patient.id}`, ...(deceased === true ? ['deceased: next of kin'] : [])].join(', '), where === '' ? 'Not known' : where, language ?? 'Not stated',
    patient.firstMs === patient.lastMs ? minute(patient.firstMs) : `${minute(patient.firstMs)} to ${minute(patient.lastMs)}`, [...patient.classes.keys()].join('; '),
  ];
}

/** One row per patient, for letters. */
export function* patientsCsv({ scope, addressees }: BreachReport): Generator<string> {
  yield csvRow(['patient', 'name', 'address', 'city', 'state', 'postal code', 'country', 'language', 'deceased', 'first access (UTC)', 'last access (UTC)', 'accesses', 'kinds of data', 'record read']);
  for (const patient of scope.patients.values()) {
    const { name, lines = [], city, state = unknownState, postalCode, country, language, deceased = false, unread = true } = addressees.get(patient.id) ?? {};
    yield csvRow([patient.id, name, lines.join(', '), city, state, postalCode, country, language, deceased ? 'yes' : 'no', new Date(patient.firstMs).toISOString(), new Date(patient.lastMs).toISOString(), patient.accesses, [...patient.classes.keys()].join('; '), unread ? 'no' : 'yes']);
  }
}

/** One row per version that was disclosed. */
export function* versionsCsv({ scope }: BreachReport): Generator<string> {
  yield csvRow(['patient', 'type', 'id', 'version', 'first access (UTC)', 'last access (UTC)']);
  for (const { patient, type, id, versionId, firstMs, lastMs } of scope.versions) yield csvRow([patient, type, id, versionId, new Date(firstMs).toISOString(), new Date(lastMs).toISOString()]);
}

