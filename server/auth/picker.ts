import type { Request, Response } from 'express';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { AskedContext, Picked } from './authorization.ts';
import { ownPatients } from './launch.ts';
import { html, page, type FormFacts, type Html } from './pages.ts';
import { isNarrow, type Asker, type Choosable, type Found, type PatientQuery, type PersonalRecords } from './records.ts';

/** One step of an interaction: its form, who acts, and what was asked for. */
export interface Step {
  readonly form: FormFacts;
  readonly asker: Asker;
  readonly asked: AskedContext;
}

interface PickerOptions {
  readonly records: PersonalRecords;
  readonly nowMs: () => number;
}

const dayMs = 86_400_000;
const defaultDays = 30;

/** Shows where a patient or an encounter is chosen. Patients and their proxies choose among their own; others search. */
export async function showPicker(options: PickerOptions, step: Step, response: Response): Promise<void> {
  const { asker, asked, form } = step;
  if (asked.needs === 'encounter') return send(response, encounterPage(form, daysAgo(options.nowMs(), defaultDays), undefined));
  const own = ownPatients(asker.person);
  if (own === undefined) return send(response, patientPage(form, { name: '', birthDate: '', identifier: '' }, undefined));
  const matches: Choosable[] = [];
  for (const id of own) {
    const line = await options.records.patient(asker, id).catch(unavailable);
    if (line !== undefined) matches.push(line);
  }
  return send(response, ownPage(form, matches));
}

/**
 * A search, whose page is sent, or a choice, which is returned.
 * @throws InterlockError `forbidden` if what was chosen is not for this person to see
 */
export async function pick({ records, nowMs }: PickerOptions, step: Step, request: Request, response: Response): Promise<Picked | undefined> {
  const { form, asker, asked } = step;
  const entries = (request.body ?? {}) as Readonly<Record<string, unknown>>;
  const entry = (name: string): string => (typeof entries[name] === 'string' ? entries[name].normalize('NFKC').trim().slice(0, 200) : '');
  const isForPatient = asked.needs === 'patient';
  const chosen = entry(isForPatient ? 'patient' : 'encounter');
  const patient = asked.context.patient ?? '';
  if (chosen !== '') {
    const seen = await (isForPatient ? records.patient(asker, chosen) : records.encounter(asker, patient, chosen)).catch(unavailable);
    const own = ownPatients(asker.person);
    if (seen === undefined || (isForPatient && own !== undefined && !own.includes(chosen))) throw new InterlockError('forbidden');
    return isForPatient ? { patient: chosen } : { encounter: chosen };
  }
  if (entry('decision') === 'skip') return isForPatient ? { patient: null } : { encounter: null };
  if (isForPatient) {
    const query: PatientQuery = { name: entry('name'), birthDate: entry('birthdate'), identifier: entry('identifier') };
    const found = isNarrow(query) ? await records.patients(asker, query) : 'too-wide';
    await send(response, patientPage(form, query, found));
  } else {
    const since = /^\d{4}-\d{2}-\d{2}$/.test(entry('since')) ? entry('since') : daysAgo(nowMs(), defaultDays);
    await send(response, encounterPage(form, since, await records.encounters(asker, patient, since)));
  }
  return undefined;
}

// What somebody may not see and what is not there look the same.
function unavailable(cause: unknown): undefined {
  if (cause instanceof InterlockError && ['forbidden', 'not-found', 'deleted'].includes(cause.code)) return undefined;
  throw cause;
}

function daysAgo(nowMs: number, days: number): string {
  return new Date(nowMs - days * dayMs).toISOString().slice(0, 10);
}

async function send(response: Response, text: string): Promise<void> {
  response.status(200).type('html').send(text);
}

function patientPage(form: FormFacts, query: PatientQuery, found: Found | 'too-wide' | undefined): string {
  return page(
    'Choose a patient',
    html`<p>Whose record should <strong>${form.appName}</strong> work with?</p>
${found === 'too-wide' && html`<p class="problem" role="alert">Enter a whole identifier, at least three letters of the name, or two letters and the birth date.</p>`}
${found !== undefined && found !== 'too-wide' && results(form, 'patient', found, 'No patient whom you may see matches.')}
<form method="post" action="${form.action}">
<input type="hidden" name="csrf" value="${form.csrf}">
<label for="name">Name</label>
<input id="name" name="name" maxlength="100" autocomplete="off" spellcheck="false" value="${query.name}"${!hasMatches(found) && html` autofocus`}>
<label for="birthdate">Birth date</label>
<input id="birthdate" name="birthdate" type="date" value="${query.birthDate}">
<label for="identifier">Identifier, such as the record number</label>
<input id="identifier" name="identifier" maxlength="100" autocomplete="off" spellcheck="false" value="${query.identifier}">
${buttons('Search', 'Go on without a patient')}
</form>
<p class="reference">Each search is recorded.</p>`,
  );
}

function encounterPage(form: FormFacts, since: string, found: Found | undefined): string {
  return page(
    'Choose a visit',
    html`<p>Which visit should <strong>${form.appName}</strong> work with?</p>
${found !== undefined && results(form, 'encounter', found, 'No visit since that day.')}
<form method="post" action="${form.action}">
<input type="hidden" name="csrf" value="${form.csrf}">
<label for="since">Visits since</label>
<input id="since" name="since" type="date" value="${since}" required${!hasMatches(found) && html` autofocus`}>
${buttons('Search', 'Go on without a visit')}
</form>`,
  );
}

function ownPage(form: FormFacts, matches: readonly Choosable[]): string {
  return page(
    'Whose record?',
    html`<p>Whose record should <strong>${form.appName}</strong> work with?</p>
${results(form, 'patient', { matches, isCut: false }, 'No record is available.')}
<form method="post" action="${form.action}">
<input type="hidden" name="csrf" value="${form.csrf}">
<div class="buttons"><button name="decision" value="cancel" class="quiet">Cancel</button></div>
</form>`,
  );
}

const hasMatches = (found: Found | 'too-wide' | undefined): boolean => typeof found === 'object' && found.matches.length > 0;

function results(form: FormFacts, name: 'patient' | 'encounter', { matches, isCut }: Found, nothing: string): Html {
  if (matches.length === 0) return html`<p role="status">${nothing}</p>`;
  return html`<form method="post" action="${form.action}" class="results" aria-label="Search results">
<input type="hidden" name="csrf" value="${form.csrf}">
<p role="status">${matches.length === 1 ? 'One match' : `${isCut ? 'The first ' : ''}${matches.length} matches${isCut ? '; there are more, so search for less' : ''}`}</p>
${matches.map((one, index) => html`<button class="result" name="${name}" value="${one.id}"${index === 0 && html` autofocus`}><strong>${one.title}</strong><small>${one.detail}</small></button>`)}
</form>`;
}

function buttons(first: string, skip: string): Html {
  return html`<div class="buttons">
<button name="decision" value="search">${first}</button>
<button name="decision" value="skip" class="quiet" formnovalidate>${skip}</button>
<button name="decision" value="cancel" class="quiet" formnovalidate>Cancel</button>
</div>`;
}
