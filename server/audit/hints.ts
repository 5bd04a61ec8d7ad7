import { normalizeCode } from '../../resources/search-values/index.ts';
import type { Criterion, CriterionValue } from '../search/criteria.ts';
import type { AuditRecord } from './record.ts';
import { parseEventId } from './render/event.ts';
import { patternOf } from './render/patterns.ts';
import { maxDateMs, type Hint } from './scan.ts';
import { denseInteractions, selectiveActions, term } from './tokens.ts';

/** Where a search has to look: never too little, often too much. What is found there is tested exactly. */
export interface SearchPlan {
  readonly hints: readonly Hint[];
  /** Events in [fromMs, untilMs). */
  readonly fromMs: number;
  readonly untilMs: number;
  /** Only these entries. */
  readonly entryIds?: readonly Buffer[];
}

const everything: SearchPlan = { hints: [], fromMs: 0, untilMs: maxDateMs };
const nothing: SearchPlan = { ...everything, untilMs: 0 };

/** Derives from a search on AuditEvents which entries can match. */
export function planOf(where: Criterion): SearchPlan {
  switch (where.op) {
    case 'all':
      return where.of.map(planOf).reduce(both, everything);
    case 'any':
      return either(where.of.map(planOf));
    case 'type':
      return where.types.includes('AuditEvent') ? everything : nothing;
    case 'compartment':
      return patientPlan(where.ids);
    case 'id':
      return { ...everything, entryIds: where.ids.map(parseEventId).filter((id) => id !== undefined).map((id) => id.entryId) };
    case 'lastUpdated':
      return datePlan(where);
    case 'param':
      return paramPlan(where);
    case 'not':
    case 'present':
    case 'words':
    case 'contained':
    case 'rule':
      return everything;
  }
}

function both(a: SearchPlan, b: SearchPlan): SearchPlan {
  const ids = a.entryIds ?? b.entryIds;
  return { hints: [...a.hints, ...b.hints], fromMs: Math.max(a.fromMs, b.fromMs), untilMs: Math.min(a.untilMs, b.untilMs), ...(ids === undefined ? {} : { entryIds: ids }) };
}

function either(plans: readonly SearchPlan[]): SearchPlan {
  const possible = plans.filter((plan) => plan.fromMs < plan.untilMs);
  if (possible.length === 0) return nothing;
  const span = { fromMs: Math.min(...possible.map((plan) => plan.fromMs)), untilMs: Math.max(...possible.map((plan) => plan.untilMs)) };
  if (possible.every((plan) => plan.entryIds !== undefined)) return { hints: [], ...span, entryIds: possible.flatMap((plan) => plan.entryIds ?? []) };
  for (const daily of [false, true]) {
    const hints = possible.map((plan) => plan.hints.find((hint) => hint.daily === daily));
    if (hints.every((hint) => hint !== undefined)) return { hints: [{ terms: hints.flatMap((hint) => hint.terms), daily }], ...span };
  }
  return { hints: [], ...span };
}

function paramPlan({ param, modifier, of }: Extract<Criterion, { op: 'param' }>): SearchPlan {
  if (modifier === 'identifier' && param.code === 'agent') return anchored(codesOf(of)?.map(term.agent));
  // Without the modifier an address is the beginning of others.
  if (modifier === 'exact' && param.code === 'address') return daily(of.map((value) => (value.kind === 'string' ? term.address(value.value) : undefined)));
  if (modifier !== undefined) return everything;
  switch (param.code) {
    case 'date':
      return either(of.map((value) => (value.kind === 'date' ? datePlan(value) : everything)));
    case 'patient':
      return patientPlan(referencesOf(of)?.map((reference) => reference.id));
    case 'entity':
      return anchored(referencesOf(of)?.map((reference) => (reference.type === undefined ? undefined : term.reference(reference.type, reference.id))));
    case 'agent':
      return anchored(referencesOf(of)?.map((reference) => (reference.type === undefined ? undefined : term.agent(`${reference.type}/${reference.id}`))));
    case 'altid':
      return anchored(codesOf(of)?.map(term.agent));
    case 'outcome':
      return daily(codesOf(of)?.map((code) => (code === '0' ? undefined : term.outcome(code))));
    case 'action':
      return daily(codesOf(of)?.map((code) => (selectiveActions.has(code.toUpperCase()) ? term.action(code.toUpperCase()) : undefined)));
    case 'type':
      return daily(codesOf(of)?.flatMap((code) => kindsOfType(code).map((kind) => (kind === 'rest' ? undefined : term.kind(kind)))));
    case 'subtype':
      return daily(codesOf(of)?.map((code) => (restInteractions.has(code) && !denseInteractions.has(`rest|${code}`) ? term.interaction('rest', code) : undefined)));
    default:
      return everything;
  }
}

/** A patient is found as what an event is about, or as the person who acts. */
function patientPlan(ids: readonly string[] | undefined): SearchPlan {
  return anchored(ids?.flatMap((id) => [term.reference('Patient', id), term.agent(`Patient/${id}`)]));
}

/** https://hl7.org/fhir/R4/search.html#prefix, for a value that is a point in time. */
function datePlan({ prefix, lo, hi }: { readonly prefix: string; readonly lo: number; readonly hi: number }): SearchPlan {
  switch (prefix) {
    case 'ne':
      return everything;
    case 'gt':
    case 'ge':
    case 'sa':
      return { ...everything, fromMs: Math.max(lo, 0) };
    case 'lt':
    case 'le':
    case 'eb':
      return { ...everything, untilMs: Math.min(hi, maxDateMs) };
    default:
      return { ...everything, fromMs: Math.max(lo, 0), untilMs: Math.min(hi, maxDateMs) };
  }
}

// A value without a term makes the whole condition one that tokens cannot help with.
function anchored(terms: readonly (string | undefined)[] | undefined): SearchPlan {
  return hinted(terms, false);
}

function daily(terms: readonly (string | undefined)[] | undefined): SearchPlan {
  return hinted(terms, true);
}

function hinted(terms: readonly (string | undefined)[] | undefined, isDaily: boolean): SearchPlan {
  if (terms === undefined) return everything;
  const known = terms.filter((one) => one !== undefined);
  return known.length < terms.length ? everything : { ...everything, hints: [{ terms: known, daily: isDaily }] };
}

function codesOf(values: readonly CriterionValue[]): string[] | undefined {
  const codes = values.map((value) => (value.kind === 'token' && value.code !== undefined ? normalizeCode(value.code) : undefined));
  return codes.every((code) => code !== undefined) ? codes : undefined;
}

function referencesOf(values: readonly CriterionValue[]): { type?: string; id: string }[] | undefined {
  const references = values.map((value) => (value.kind === 'reference' && value.id !== undefined ? { ...(value.type === undefined ? {} : { type: value.type }), id: value.id } : undefined));
  return references.every((reference) => reference !== undefined) ? references : undefined;
}

const kinds = ['rest', 'login', 'logout', 'token', 'channel', 'command', 'key', 'server'] as const satisfies readonly AuditRecord['kind'][];

/** Kinds of records whose AuditEvents have a type with this code. */
function kindsOfType(code: string): AuditRecord['kind'][] {
  const probe = { at: 0, interaction: '', action: 'E', outcome: '0', requestId: '', actor: { kind: 'job', id: '' } } as const;
  // Commands are of two types.
  return kinds.filter((kind) => ['', 'audit-export'].some((interaction) => normalizeCode(patternOf({ ...probe, kind, interaction }).type.code) === code));
}

// Interactions whose code is the subtype of no other kind of event and of no operation.
const restInteractions: ReadonlySet<string> = new Set([
  'read', 'vread', 'create', 'update', 'patch', 'delete', 'search-type', 'search-system', 'history-instance', 'history-type', 'history-system', 'capabilities', 'batch', 'transaction',
]);
