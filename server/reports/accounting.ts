import { InterlockError } from '../../resources/outcome/error.ts';
import { queryRecords } from '../audit/query.ts';
import type { AuditReader } from '../audit/reader.ts';
import type { AuditRecord } from '../audit/record.ts';
import type { PdfPart, PdfReport } from './pdf-table.ts';
import { isTpo, purposeText } from './purposes.ts';

/** Which part of an accounting a disclosure belongs to. */
type Section = 'accountable' | 'tpo' | 'own' | 'written';

/** Alike disclosures to one recipient for one purpose, as 45 CFR 164.528(b)(3) lets them be told together. */
interface Disclosures {
  readonly section: Section;
  readonly actor: AuditRecord['actor'];
  readonly purposes: readonly string[];
  readonly reasons: Set<string>;
  readonly types: Set<string>;
  readonly addresses: Set<string>;
  readonly verb: string;
  firstMs: number;
  lastMs: number;
  times: number;
}

/** What is known of a recipient or the patient beyond the audit trail. */
export interface Party {
  readonly name?: string;
  readonly address?: string;
}

export interface AccountingRequest {
  readonly reader: AuditReader;
  /** Logical id. */
  readonly patient: string;
  /** [sinceMs, untilMs) */
  readonly sinceMs: number;
  readonly untilMs: number;
  /** Only what 45 CFR 164.528 asks for. */
  readonly requiredOnly: boolean;
  /** Looks up a person or organisation, given as `Type/id`. */
  readonly party: (reference: string) => Promise<Party>;
  /** Told how many entries have been read. */
  readonly tell: (done: number) => void;
  readonly site: string;
  readonly at: Date;
}

// People whom a patient knows come again and again; more groups than this are no report that anybody reads.
const maxGroups = 10_000;
const maxParties = 1_000;
const maxTypes = 8;

/**
 * The accounting of disclosures of one patient's data (https://www.ecfr.gov/current/title-45/section-164.528): when, to whom,
 * what, why; and, unless only that is asked for, everybody else who saw or changed the record.
 * @throws InterlockError `too-costly` beyond 10,000 kinds of disclosures
 */
export async function accountingReport(request: AccountingRequest): Promise<{ readonly report: PdfReport; readonly disclosures: number; readonly accountable: number }> {
  const { reader, patient, sinceMs, untilMs } = request;
  const groups = new Map<string, Disclosures>();
  let read = 0;
  for await (const { record } of queryRecords(reader, { patient, outcome: '0', sinceMs, untilMs, ascending: true, limit: Infinity })) {
    if ((read += 1) % 500 === 0) request.tell(read);
    take(groups, record, patient);
    if (groups.size > maxGroups) throw new InterlockError('too-costly', { detail: 'One accounting holds 10,000 rows; narrow it by time.' });
  }
  const all = [...groups.values()].filter(({ section }) => !request.requiredOnly || section === 'accountable');
  const parties = await partiesOf(all, request.party);
  const { name, address } = await request.party(`Patient/${patient}`);
  const total = (of: readonly Disclosures[]): number => of.reduce((sum, { times }) => sum + times, 0);
  const accountable = all.filter(({ section }) => section === 'accountable');
  const day = (ms: number): string => new Date(ms).toISOString().slice(0, 10);
  const parts: PdfPart[] = [
    { kind: 'facts', rows: [
      ['Patient', name ?? 'Name not available'],
      ...(address === undefined ? [] : [['Address', address] as const]),
      ['Record', `Patient/${patient}`],
      ['Period', `${day(sinceMs)} to ${new Date(untilMs - 1).toISOString().slice(0, 10)}`],
      ['Made', `${request.at.toISOString().slice(0, 16).replace('T', ' ')} UTC`],
      ['Source', `The audit trail of ${request.site}. Times are UTC.`],
    ] },
    { kind: 'text', text: 'Alike disclosures to the same recipient for the same purpose stand in one row, with the first and the last date and their number.' },
    { kind: 'heading', text: `Disclosures that must be accounted for: ${total(accountable)}` },
    { kind: 'text', text: 'By 45 CFR 164.528: neither for treatment, payment or health care operations, nor to you. What was disclosed without a stated purpose is listed here, too.' },
    table(accountable, parties),
    ...(request.requiredOnly ? [] : sections.flatMap(([section, title, about]): PdfPart[] => {
      const rows = all.filter((one) => one.section === section);
      return [{ kind: 'heading', text: `${title}: ${total(rows)}` }, { kind: 'text', text: about }, table(rows, parties)];
    })),
    ...(request.requiredOnly ? [{ kind: 'text', text: 'Accesses for treatment, payment and health care operations, your own, and those that changed the record are not listed.' } as const] : []),
    { kind: 'text', text: 'Letters that the standard fonts lack are spelled in Latin letters or given by their Unicode numbers. Attempts that were refused disclosed nothing and are not listed.' },
  ];
  return { report: { title: 'Accounting of disclosures', footer: `${request.site}: accounting of disclosures. Confidential.`, parts, at: request.at, landscape: true }, disclosures: total(all), accountable: total(accountable) };
}

const sections = [
  ['tpo', 'Seen for treatment, payment or health care operations', 'By those who care for you, bill, or run the systems.'],
  ['own', 'Seen by you, or by those who act for you', 'Through the applications that you use.'],
  ['written', 'Entered or changed', 'By whom your record was written, including messages from other systems.'],
] as const;

function take(groups: Map<string, Disclosures>, record: AuditRecord, patient: string): void {
  const { actor, purposeOfUse = [] } = record;
  const section = sectionOf(record, patient);
  const verb = section === 'written' ? (record.action === 'D' ? 'Deleted' : record.action === 'C' ? 'Entered' : 'Changed') : record.kind === 'command' ? `Told by the command ${(record.command ?? record.interaction).replaceAll(/ --\S+/g, '')}` : 'Seen';
  const key = JSON.stringify([section, verb, actor.kind, actor.id, actor.clientId, actor.role, purposeOfUse]);
  let group = groups.get(key);
  if (group === undefined) groups.set(key, (group = { section, verb, actor, purposes: purposeOfUse, reasons: new Set(), types: new Set(), addresses: new Set(), firstMs: record.at, lastMs: record.at, times: 0 }));
  group.lastMs = record.at;
  group.times += record.count ?? 1;
  if (record.breakGlassReason !== undefined && group.reasons.size < 5) group.reasons.add(record.breakGlassReason);
  if (actor.address !== undefined && group.addresses.size < 4) group.addresses.add(actor.address);
  for (const { type, id, patients = [] } of record.entities ?? []) if (patients.includes(patient) || (type === 'Patient' && id === patient)) group.types.add(type);
}

function sectionOf({ actor, action, kind, purposeOfUse = [] }: AuditRecord, patient: string): Section {
  if (action === 'C' || action === 'U' || action === 'D' || (kind === 'channel' && actor.kind === 'partner')) return 'written';
  if (actor.fhirUser === `Patient/${patient}` || actor.role === 'patient' || actor.onBehalfOf === `Patient/${patient}`) return 'own';
  // Operators look after the trail itself.
  return isTpo(purposeOfUse) || kind === 'command' ? 'tpo' : 'accountable';
}

async function partiesOf(groups: readonly Disclosures[], party: AccountingRequest['party']): Promise<ReadonlyMap<string, Party>> {
  const references = [...new Set(groups.flatMap(({ actor }) => [actor.fhirUser, actor.onBehalfOf]).filter((one) => one !== undefined && /^[A-Z]\w+\/[\w.-]+$/.test(one)))];
  const found = new Map<string, Party>();
  for (const reference of references.slice(0, maxParties)) found.set(reference!, await party(reference!));
  return found;
}

function table(groups: readonly Disclosures[], parties: ReadonlyMap<string, Party>): PdfPart {
  const time = (ms: number): string => new Date(ms).toISOString().slice(0, 16).replace('T', ' ');
  const rows = [...groups].sort((a, b) => b.lastMs - a.lastMs).map(({ actor, purposes, reasons, types, addresses, verb, firstMs, lastMs, times }) => {
    const who = parties.get(actor.fhirUser ?? '');
    const listed = [...types].slice(0, maxTypes).map(wordsOf).join(', ');
    return [
      times === 1 ? time(lastMs) : `${time(firstMs)} to ${time(lastMs)}`,
      String(times),
      [who?.name ?? actor.display ?? actor.id.replace(/^operator:/, ''), actor.role === undefined ? kinds[actor.kind] : actor.role.replaceAll('-', ' '), ...(actor.onBehalfOf === undefined ? [] : [`on behalf of ${parties.get(actor.onBehalfOf)?.name ?? actor.onBehalfOf}`])].filter((part) => part !== undefined).join(', '),
      [who?.address ?? 'Address not known', ...(actor.clientName === undefined && actor.clientId === undefined ? [] : [`through ${actor.clientName ?? actor.clientId!}`]), ...(addresses.size === 0 ? [] : [`from ${[...addresses].join(', ')}`])].join('; '),
      types.size === 0 ? verb : `${verb}: ${listed}${types.size > maxTypes ? ` and ${types.size - maxTypes} more kinds` : ''}`,
      [purposeText(purposes), ...[...reasons].map((reason) => `"${reason}"`)].join(': '),
    ];
  });
  return { kind: 'table', columns: [{ title: 'Date', width: 13 }, { title: 'Times', width: 5 }, { title: 'Recipient', width: 17 }, { title: 'Address', width: 22 }, { title: 'What', width: 23 }, { title: 'Purpose', width: 20 }], rows, empty: 'None.' };
}

const kinds: Readonly<Record<AuditRecord['actor']['kind'], string | undefined>> = { user: undefined, client: 'application', partner: 'partner organisation', operator: 'operator', job: 'automatic job', anonymous: 'not signed in' };

/** `MedicationRequest` -> `Medication request`. */
function wordsOf(type: string): string {
  return type.replaceAll(/(?<=[a-z])([A-Z])/g, (_all, letter: string) => ` ${letter.toLowerCase()}`);
}
