import { isResourceType, searchParamsOf } from '../../resources/definitions/index.ts';
import { extractParam, type ValueContext } from '../../resources/search-values/index.ts';
import type { ResourceJson } from '../storage/contract.ts';
import { codesIn, isObject, list, type Code, type Provision, type Span, type Verdict } from './consent-model.ts';
import { referencesIn } from './references-in.ts';

/** Whether something fits; `maybe` where what is known does not tell. */
export type Fit = boolean | 'maybe';

/** What is done with data: seen by who asks, passed on to others, recorded, changed. */
export type Doing = 'read' | 'release' | 'collect' | 'correct';

/** Who asks, why, when: everything of a provision but the data. */
export interface ConsentRequest {
  readonly doing: Doing;
  readonly nowMs: number;
  readonly purposes: readonly string[];
  /** References (`Type/id`) that certainly stand for who asks: the person, roles, organisations, care teams. */
  readonly certain: ReadonlySet<string>;
  /** References that may: organisations above, memberships that have ended. */
  readonly possible: ReadonlySet<string>;
  /** A client of its own, without a person: no Practitioner, but perhaps of an organisation. */
  readonly isClient: boolean;
}

/** A resource that a provision may be about. `resource` absent: only the type is known. */
export interface ConsentSubject {
  readonly type: string;
  readonly id?: string;
  readonly resource?: ResourceJson;
}

/** What else is known: how values are read, and what resources that provisions name refer to. */
export interface ConsentFacts {
  readonly values: ValueContext;
  readonly related: ReadonlyMap<string, ReadonlySet<string>>;
}

export function every(fits: Iterable<Fit>): Fit {
  let result: Fit = true;
  for (const fit of fits) {
    if (fit === false) return false;
    if (fit === 'maybe') result = 'maybe';
  }
  return result;
}

export function some(fits: Iterable<Fit>): Fit {
  let result: Fit = false;
  for (const fit of fits) {
    if (fit === true) return true;
    if (fit === 'maybe') result = 'maybe';
  }
  return result;
}

/** True if a provision asks about the data itself, beyond their type. */
export function asksContent({ dataPeriod, classes, codes, labels, data }: Provision): boolean {
  return dataPeriod !== undefined || codes.length > 0 || labels.length > 0 || data.length > 0 || classes.some((one) => typeOf(one) === undefined);
}

/** Whether now is in a provision's period. */
export function fitsPeriod({ period }: Provision, nowMs: number): Fit {
  if (period === undefined || period === 'maybe') return period === undefined ? true : 'maybe';
  return period.lo <= nowMs && nowMs < period.hi;
}

/** Whether a provision is about this request, whatever the data. */
export function fitsRequest(provision: Provision, request: ConsentRequest): Fit {
  return every([fitsPeriod(provision, request.nowMs), fitsActor(provision, request), fitsAction(provision, request), fitsPurpose(provision, request)]);
}

/** Whether a provision is about a resource. @param verdict what it then says: labels of a permission are an upper, those of a denial a lower bound */
export function fitsData(provision: Provision, verdict: Verdict, subject: ConsentSubject, facts: ConsentFacts): Fit {
  return every(function* () {
    yield fitsClass(provision.classes, subject);
    yield fitsReferences(provision, subject, facts);
    if (provision.dataPeriod !== undefined) yield fitsDataPeriod(provision.dataPeriod, subject, facts.values);
    if (provision.codes.length > 0) yield fitsCode(provision.codes, subject);
    if (provision.labels.length > 0) yield fitsLabels(provision.labels, verdict, subject);
  }());
}

function fitsActor({ actors }: Provision, { certain, possible, isClient }: ConsentRequest): Fit {
  if (actors.length === 0) return true;
  const recipients = actors.filter(({ isRecipient }) => isRecipient);
  if (recipients.length === 0) return 'maybe';
  return some(recipients.map(({ reference }): Fit => {
    if (reference === undefined) return 'maybe';
    if (certain.has(reference)) return true;
    if (possible.has(reference)) return 'maybe';
    if (isClient) return /^(?:Organization|Device|Group)\//.test(reference) ? 'maybe' : false;
    return certain.size === 0 ? 'maybe' : false;
  }));
}

/** http://terminology.hl7.org/CodeSystem/consentaction: to see data is to access them, and may be to use them and to have them disclosed. */
const actionsOf: Readonly<Record<Doing, { readonly is: string; readonly maybe: readonly string[] }>> = {
  read: { is: 'access', maybe: ['use', 'disclose'] },
  release: { is: 'disclose', maybe: ['access', 'use'] },
  collect: { is: 'collect', maybe: [] },
  correct: { is: 'correct', maybe: [] },
};

function fitsAction({ actions }: Provision, { doing }: ConsentRequest): Fit {
  const { is, maybe } = actionsOf[doing];
  return actions.length === 0 ? true : some(actions.map(({ code }): Fit => (code === is ? true : maybe.includes(code) ? 'maybe' : false)));
}

/** Purposes that are kinds of another (https://terminology.hl7.org/ValueSet-v3-PurposeOfUse.html). */
const broader: Readonly<Record<string, string>> = {
  BTG: 'ETREAT', ETREAT: 'TREAT', COC: 'TREAT', CAREMGT: 'TREAT', CLINTRL: 'TREAT', POPHLTH: 'TREAT',
  CLMATTCH: 'HPAYMT', COVAUTH: 'HPAYMT', COVERAGE: 'HPAYMT', ELIGDTRM: 'HPAYMT', ELIGVER: 'HPAYMT', ENROLLM: 'HPAYMT', REMITADV: 'HPAYMT',
  BIORCH: 'HRESCH', CLINTRCH: 'HRESCH', DSRCH: 'HRESCH', PATSFTY: 'HOPERAT', HQUALIMP: 'HOPERAT', HSYSADMIN: 'HOPERAT', FAMRQT: 'PATRQT', PWATRNY: 'PATRQT', SUPNWK: 'PATRQT',
};

function fitsPurpose({ purposes }: Provision, request: ConsentRequest): Fit {
  if (purposes.length === 0) return true;
  if (request.purposes.length === 0) return 'maybe';
  const named = (asked: string | undefined): boolean => asked !== undefined && (purposes.some(({ code }) => code === asked) || named(broader[asked]));
  const fitting = request.purposes.filter(named).length;
  return fitting === 0 ? false : fitting === request.purposes.length ? true : 'maybe';
}

const coreProfile = 'http://hl7.org/fhir/StructureDefinition/';
const typeSystem = 'http://hl7.org/fhir/resource-types';

/** The resource type that a class names; undefined for a class of another kind. */
function typeOf({ system, code }: Code): string | undefined {
  if (system === undefined || system === typeSystem) return isResourceType(code) ? code : code.startsWith(coreProfile) ? typeOf({ code: code.slice(coreProfile.length) }) : undefined;
  const url = `${system.replace(/\/?$/, '/')}${code}`;
  const name = code.startsWith(coreProfile) ? code.slice(coreProfile.length) : url.startsWith(coreProfile) ? url.slice(coreProfile.length) : '';
  return isResourceType(name) ? name : undefined;
}

function fitsClass(classes: readonly Code[], { type, resource }: ConsentSubject): Fit {
  if (classes.length === 0) return true;
  return some(classes.map((one): Fit => {
    const named = typeOf(one);
    if (named !== undefined) return named === type;
    if (resource === undefined) return 'maybe';
    if (one.system === 'urn:ietf:bcp:13') return valuesOf(resource, 'contentType').includes(one.code);
    const url = /^[a-z][a-z0-9+.-]*:/i.test(one.code) ? one.code : one.system !== undefined && /^https?:/.test(one.system) ? `${one.system.replace(/\/?$/, '/')}${one.code}` : undefined;
    if (url === undefined) return 'maybe';
    return list(isObject(resource['meta']) ? resource['meta']['profile'] : undefined).some((profile) => typeof profile === 'string' && profile.split('|')[0] === url);
  }));
}

function fitsCode(wanted: readonly Code[], { resource }: ConsentSubject): Fit {
  if (resource === undefined) return 'maybe';
  const isWanted = (found: readonly Code[]): boolean => found.some(({ system, code }) => wanted.some((one) => one.code === code && (one.system === undefined || one.system === system)));
  const { meta: _, ...rest } = resource;
  // What stands at the top says what the resource is about; deeper codes may or may not.
  return isWanted(Object.values(rest).flatMap(codesIn)) ? true : isWanted(codesWithin(rest)) ? 'maybe' : false;
}

/** https://terminology.hl7.org/CodeSystem-v3-Confidentiality.html, least first. */
const confidentiality = ['U', 'L', 'M', 'N', 'R', 'V'];
const confidentialitySystem = 'http://terminology.hl7.org/CodeSystem/v3-Confidentiality';
const levelOf = ({ system, code }: Code): number => (system === undefined || system === confidentialitySystem ? confidentiality.indexOf(code) : -1);

function fitsLabels(labels: readonly Code[], verdict: Verdict, { resource }: ConsentSubject): Fit {
  if (resource === undefined) return 'maybe';
  const found = codesIn(isObject(resource['meta']) ? resource['meta']['security'] : undefined);
  const level = Math.max(...found.map(levelOf).filter((one) => one >= 0), -1);
  // What has no level is normal.
  const own = level < 0 ? confidentiality.indexOf('N') : level;
  const levels = labels.map(levelOf).filter((one) => one >= 0);
  const others = labels.filter((label) => levelOf(label) < 0);
  const carries = others.some(({ system, code }) => found.some((one) => one.code === code && (system === undefined || system === one.system)));
  if (verdict === 'deny') return carries || levels.some((mark) => own >= mark);
  return (levels.length === 0 || levels.some((mark) => own <= mark)) && (others.length === 0 || carries);
}

/** Dates of birth and death tell when somebody lived, not when data came to be. */
const datesOfLife = new Set(['birthdate', 'death-date']);

function fitsDataPeriod(span: Span, { type, resource }: ConsentSubject, values: ValueContext): Fit {
  if (resource === undefined || span === 'maybe') return 'maybe';
  const dates = [...searchParamsOf(type).values()].filter((param) => param.type === 'date' && !param.code.startsWith('_') && !datesOfLife.has(param.code)).flatMap((param) => extractParam(resource, param.code, values)).flatMap((value) => (value.kind === 'date' ? [value] : []));
  if (dates.length === 0) return 'maybe';
  if (dates.every(({ lo, hi }) => lo >= span.lo && hi <= span.hi)) return true;
  return dates.some(({ lo, hi }) => lo < span.hi && hi > span.lo) ? 'maybe' : false;
}

/** Elements that tell who made a resource. */
const authors = ['author', 'performer', 'recorder', 'asserter', 'requester', 'prescriber', 'enterer', 'informationSource', 'responsible'];

function fitsReferences({ data }: Provision, { type, id, resource }: ConsentSubject, { values, related }: ConsentFacts): Fit {
  if (data.length === 0) return true;
  const self = `${type}/${id ?? ''}`;
  const within = (node: unknown): ReadonlySet<string> => new Set(referencesIn({ resourceType: type, node }, values.baseUrl).map((one) => `${one.type}/${one.id}`));
  return some(data.map(({ meaning, reference }): Fit => {
    if (meaning === undefined) return 'maybe';
    // What is elsewhere is none of what is here.
    if (reference === undefined) return false;
    if (resource === undefined) return meaning === 'instance' && !reference.startsWith(`${type}/`) ? false : 'maybe';
    if (meaning === 'authoredby') return within(authors.map((name) => resource[name])).has(reference);
    if (reference === self) return true;
    if (meaning === 'related') return related.get(reference)?.has(self) === true;
    return meaning === 'dependents' && within(resource).has(reference);
  }));
}

function codesWithin(node: unknown): Code[] {
  if (Array.isArray(node)) return node.flatMap(codesWithin);
  if (!isObject(node)) return [];
  return [...(typeof node['code'] === 'string' ? codesIn(node) : []), ...Object.values(node).flatMap(codesWithin)];
}

/** Texts of all elements of a name. */
function valuesOf(node: unknown, name: string): string[] {
  if (Array.isArray(node)) return node.flatMap((one) => valuesOf(one, name));
  if (!isObject(node)) return [];
  return Object.entries(node).flatMap(([key, value]) => (key === name && typeof value === 'string' ? [value] : valuesOf(value, name)));
}
