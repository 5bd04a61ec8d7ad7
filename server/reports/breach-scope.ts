import { InterlockError } from '../../resources/outcome/error.ts';
import { queryRecords, type RecordFilter } from '../audit/query.ts';
import type { AuditReader } from '../audit/reader.ts';
import type { AuditRecord } from '../audit/record.ts';

/** Whose accesses are asked about. What is given must all hold. */
export interface BreachQuestion {
  readonly client?: string;
  readonly user?: string;
  readonly address?: string;
  /** A part of the user agent, in any case. */
  readonly device?: string;
  /** [sinceMs, untilMs) */
  readonly sinceMs: number;
  readonly untilMs: number;
}

/** What of one patient was accessed. */
export interface AffectedPatient {
  readonly id: string;
  firstMs: number;
  lastMs: number;
  accesses: number;
  /** Classes of data, in words, with the number of resource versions. */
  readonly classes: Map<string, number>;
}

/** A version that left, and for whom. */
export interface DisclosedVersion {
  readonly patient: string;
  readonly type: string;
  readonly id: string;
  readonly versionId?: number;
  readonly firstMs: number;
  lastMs: number;
}

export interface BreachScope {
  readonly patients: ReadonlyMap<string, AffectedPatient>;
  readonly versions: readonly DisclosedVersion[];
  readonly accesses: number;
  /** Attempts that were refused: nothing was disclosed. */
  readonly refused: number;
  readonly firstMs?: number;
  readonly lastMs?: number;
  /** Who acted, from where, with what. */
  readonly actors: ReadonlySet<string>;
  readonly addresses: ReadonlySet<string>;
  readonly devices: ReadonlySet<string>;
}

const maxPatients = 40_000;
const maxVersions = 500_000;
const maxNamed = 200;

/** Classes of data in the words of a notification letter (45 CFR 164.404(c)(1)(B)); types that are not listed are named as they are. */
const classes: readonly (readonly [string, readonly string[]])[] = [
  ['Name, address, birth date and other demographics', ['Patient', 'Person', 'RelatedPerson']],
  ['Diagnoses and problems', ['Condition', 'ClinicalImpression', 'FamilyMemberHistory', 'RiskAssessment']],
  ['Laboratory results, vital signs and other observations', ['Observation', 'Specimen', 'MolecularSequence']],
  ['Diagnostic reports and images', ['DiagnosticReport', 'ImagingStudy', 'Media']],
  ['Medications and prescriptions', ['Medication', 'MedicationRequest', 'MedicationDispense', 'MedicationStatement', 'MedicationAdministration']],
  ['Allergies', ['AllergyIntolerance', 'AdverseEvent']],
  ['Immunizations', ['Immunization', 'ImmunizationRecommendation', 'ImmunizationEvaluation']],
  ['Procedures and orders', ['Procedure', 'ServiceRequest', 'DeviceRequest', 'Device', 'DeviceUseStatement']],
  ['Documents', ['DocumentReference', 'Binary', 'Composition', 'DocumentManifest']],
  ['Visits and appointments', ['Encounter', 'EpisodeOfCare', 'Appointment', 'AppointmentResponse']],
  ['Insurance, claims and payments', ['Coverage', 'Claim', 'ClaimResponse', 'ExplanationOfBenefit', 'Account', 'Invoice', 'PaymentNotice']],
  ['Care plans and messages', ['CarePlan', 'CareTeam', 'Goal', 'Communication', 'CommunicationRequest', 'QuestionnaireResponse', 'Task']],
  ['Consents', ['Consent']],
];
const classOfType = new Map(classes.flatMap(([words, types]) => types.map((type) => [type, words] as const)));

/**
 * Finds every patient whose data were disclosed to, or changed by, whoever is asked about.
 * @throws InterlockError `too-costly` beyond 40,000 patients or 500,000 versions; `request-invalid` if the question is empty
 */
export async function scopeOfBreach(reader: AuditReader, question: BreachQuestion, tell: (done: number) => void): Promise<BreachScope> {
  const { client, user, address, device, sinceMs, untilMs } = question;
  const agent = client ?? user;
  if (agent === undefined && address === undefined && device === undefined && sinceMs === 0) throw new InterlockError('request-invalid', { detail: 'Say whose accesses are meant: --client, --user, --address, --device, or a time with --since.' });
  const filter: RecordFilter = { sinceMs, untilMs, ascending: true, limit: Infinity, ...(agent === undefined ? {} : { agent }), ...(address === undefined ? {} : { address }) };
  const patients = new Map<string, AffectedPatient>();
  const versions = new Map<string, DisclosedVersion>();
  const [actors, addresses, devices] = [new Set<string>(), new Set<string>(), new Set<string>()];
  const seen = { read: 0, accesses: 0, refused: 0, firstMs: undefined as number | undefined, lastMs: undefined as number | undefined };
  for await (const { record } of queryRecords(reader, filter)) {
    if ((seen.read += 1) % 500 === 0) tell(seen.read);
    if (!isMeant(record, question)) continue;
    if (record.outcome !== '0') {
      seen.refused += record.count ?? 1;
      continue;
    }
    const concerned = concernedBy(record);
    if (concerned.size === 0) continue;
    seen.accesses += record.count ?? 1;
    seen.firstMs ??= record.at;
    seen.lastMs = record.at;
    note(actors, [record.actor.display ?? record.actor.id, record.actor.clientName ?? record.actor.clientId].filter(Boolean).join(' through '));
    note(addresses, record.actor.address);
    note(devices, record.actor.userAgent);
    for (const [id, entities] of concerned) take(patients, versions, id, entities, record.at);
    if (patients.size > maxPatients || versions.size > maxVersions) throw new InterlockError('too-costly', { detail: `One report holds ${maxPatients} patients and ${maxVersions} versions; narrow it by time.` });
  }
  const { accesses, refused, firstMs, lastMs } = seen;
  return { patients, versions: [...versions.values()], accesses, refused, actors, addresses, devices, ...(firstMs === undefined ? {} : { firstMs }), ...(lastMs === undefined ? {} : { lastMs }) };
}

function isMeant({ actor, client: named }: AuditRecord, { client, user, device }: BreachQuestion): boolean {
  return (client === undefined || actor.clientId === client || actor.id === client || named?.id === client)
    && (user === undefined || actor.id === user || actor.fhirUser === user || actor.onBehalfOf === user)
    && (device === undefined || (actor.userAgent ?? '').toLowerCase().includes(device.toLowerCase()));
}

type Entities = NonNullable<AuditRecord['entities']>;

/** The patients whom a record concerns, each with what of them it names. */
function concernedBy({ patients = [], entities = [] }: AuditRecord): Map<string, Entities[number][]> {
  const concerned = new Map<string, Entities[number][]>(patients.map((id) => [id, []]));
  for (const entity of entities) {
    for (const id of new Set([...(entity.patients ?? []), ...(entity.type === 'Patient' ? [entity.id] : [])])) {
      if (!concerned.has(id)) concerned.set(id, []);
      concerned.get(id)!.push(entity);
    }
  }
  return concerned;
}

function take(patients: Map<string, AffectedPatient>, versions: Map<string, DisclosedVersion>, id: string, entities: Entities, at: number): void {
  let patient = patients.get(id);
  if (patient === undefined) patients.set(id, (patient = { id, firstMs: at, lastMs: at, accesses: 0, classes: new Map() }));
  patient.lastMs = at;
  patient.accesses += 1;
  for (const { type, id: resource, versionId } of entities) {
    const key = `${id}|${type}/${resource}/${versionId ?? ''}`;
    const known = versions.get(key);
    if (known !== undefined) known.lastMs = at;
    else {
      versions.set(key, { patient: id, type, id: resource, ...(versionId === undefined ? {} : { versionId }), firstMs: at, lastMs: at });
      const words = classOfType.get(type) ?? type.replaceAll(/(?<=[a-z])([A-Z])/g, (_all, letter: string) => ` ${letter.toLowerCase()}`);
      patient.classes.set(words, (patient.classes.get(words) ?? 0) + 1);
    }
  }
}

function note(names: Set<string>, name: string | undefined): void {
  if (name !== undefined && name !== '' && names.size < maxNamed) names.add(name);
}
