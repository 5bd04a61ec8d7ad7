import { dateRange, referenceValue, type ValueContext } from '../../resources/search-values/index.ts';
import type { ResourceJson } from '../storage/contract.ts';

/** What a consent says of a request. */
export type Verdict = 'permit' | 'deny';

/** A code, of any system if none is named. */
export interface Code {
  readonly system?: string;
  readonly code: string;
}

/** A span of time, milliseconds since 1970: [lo, hi). `maybe` stands for one that cannot be read. */
export type Span = { readonly lo: number; readonly hi: number } | 'maybe';

/** Somebody a provision is about. */
export interface Actor {
  /** True for who gives, keeps or wrote the data, and so is not who asks for it. */
  readonly isRecipient: boolean;
  /** `Type/id`; absent: nobody that is known here. */
  readonly reference?: string;
}

/** Data that a provision is about (http://hl7.org/fhir/consent-data-meaning). */
export interface DataReference {
  readonly meaning: 'instance' | 'related' | 'dependents' | 'authoredby' | undefined;
  /** `Type/id`; absent: not of this server. */
  readonly reference?: string;
}

/** One provision: all that it names must fit; of what it names several of, one. */
export interface Provision {
  readonly type: Verdict | undefined;
  readonly period: Span | undefined;
  readonly dataPeriod: Span | undefined;
  readonly actors: readonly Actor[];
  readonly actions: readonly Code[];
  readonly purposes: readonly Code[];
  readonly classes: readonly Code[];
  readonly codes: readonly Code[];
  readonly labels: readonly Code[];
  readonly data: readonly DataReference[];
  readonly nested: readonly Provision[];
}

/** An active privacy consent (https://hl7.org/fhir/R4/consent.html), read once. */
export interface ConsentRule {
  readonly id: string;
  readonly patient: string;
  /** What holds unless a provision says otherwise: by `policyRule`, or by the organisation that manages the consent. */
  readonly base: Verdict | undefined;
  readonly root: Provision | undefined;
}

const scopeSystem = 'http://terminology.hl7.org/CodeSystem/consentscope';
/** https://terminology.hl7.org/ValueSet-v3-ActConsentDirective.html */
const policies: Readonly<Record<string, Verdict>> = { OPTIN: 'permit', OPTINR: 'permit', OPTOUT: 'deny', OPTOUTE: 'deny' };
/** http://terminology.hl7.org/ValueSet/security-role-type: roles of those who do not receive. */
const otherRoles: ReadonlySet<string> = new Set(['CST', 'AUT', 'INF', 'GRANTOR', 'CONSENTER', 'CONSWIT', 'SUBJCT']);
const meanings: ReadonlySet<unknown> = new Set(['instance', 'related', 'dependents', 'authoredby']);
const maxDepth = 50;

/**
 * Reads a Consent; undefined if it limits nothing: not active, not about privacy, or of no patient of this server.
 * @param baseOf what an organisation (`Organization/…`) holds by default
 */
export function readConsent(resource: ResourceJson, values: ValueContext, baseOf: (organization: string) => Verdict | undefined = () => undefined): ConsentRule | undefined {
  if (resource['status'] !== 'active' || !codesIn(resource['scope']).some(({ system, code }) => code === 'patient-privacy' && (system === undefined || system === scopeSystem))) return undefined;
  const patient = localReference(resource['patient'], values);
  if (patient?.startsWith('Patient/') !== true) return undefined;
  const declared = codesIn(resource['policyRule']).flatMap(({ code }) => policies[code] ?? []);
  const organized = list(resource['organization']).flatMap((one) => baseOf(localReference(one, values) ?? '') ?? []);
  const bases = declared.length > 0 ? declared : organized;
  const base = bases.includes('deny') ? 'deny' : bases[0];
  const provision = resource['provision'];
  return { id: resource.id ?? '', patient: patient.slice('Patient/'.length), base, root: isObject(provision) ? provisionOf(provision, values, 0) : undefined };
}

/** All provisions of a consent. */
export function* provisionsOf(provision: Provision | undefined): Generator<Provision> {
  if (provision === undefined) return;
  yield provision;
  for (const one of provision.nested) yield* provisionsOf(one);
}

/** A span that a Period covers; undefined without one. */
export function spanOf(period: unknown, zone: string | undefined): Span | undefined {
  if (!isObject(period)) return undefined;
  const [start, end] = [period['start'], period['end']].map((text) => (typeof text === 'string' ? (dateRange(text, zone) ?? 'maybe') : undefined));
  if (start === 'maybe' || end === 'maybe') return 'maybe';
  return { lo: start?.lo ?? -Infinity, hi: end?.hi ?? Infinity };
}

/** Codings of a Coding, a CodeableConcept, or a list of them. */
export function codesIn(node: unknown): Code[] {
  return list(node).flatMap((one): Code[] => {
    if (!isObject(one)) return [];
    if (Array.isArray(one['coding'])) return codesIn(one['coding']);
    const { system, code } = one;
    return typeof code === 'string' ? [{ code, ...(typeof system === 'string' ? { system } : {}) }] : [];
  });
}

export function isObject(node: unknown): node is Readonly<Record<string, unknown>> {
  return typeof node === 'object' && node !== null && !Array.isArray(node);
}

/** What stands once or in a list. */
export function list(node: unknown): readonly unknown[] {
  return node === undefined || node === null ? [] : Array.isArray(node) ? node : [node];
}

function localReference(node: unknown, values: ValueContext): string | undefined {
  const text = isObject(node) ? node['reference'] : undefined;
  const value = typeof text === 'string' ? referenceValue(text, values.baseUrl) : undefined;
  return value?.type === undefined || value.id === undefined ? undefined : `${value.type}/${value.id}`;
}

function provisionOf(node: Readonly<Record<string, unknown>>, values: ValueContext, depth: number): Provision {
  const { type } = node;
  const referring = (one: unknown): { reference?: string } => {
    const reference = localReference(isObject(one) ? one['reference'] : undefined, values);
    return reference === undefined ? {} : { reference };
  };
  return {
    // What is nested needs a type; without one it is taken for the stricter.
    type: type === 'permit' || type === 'deny' ? type : depth > 0 ? 'deny' : undefined,
    period: spanOf(node['period'], values.zone),
    dataPeriod: spanOf(node['dataPeriod'], values.zone),
    actors: list(node['actor']).map((actor) => {
      const roles = codesIn(isObject(actor) ? actor['role'] : undefined);
      return { isRecipient: roles.length === 0 || roles.some(({ code }) => !otherRoles.has(code)), ...referring(actor) };
    }),
    actions: codesIn(node['action']),
    purposes: codesIn(node['purpose']),
    classes: codesIn(node['class']),
    codes: codesIn(node['code']),
    labels: codesIn(node['securityLabel']),
    data: list(node['data']).map((data) => {
      const meaning = isObject(data) ? data['meaning'] : undefined;
      return { meaning: meanings.has(meaning) ? (meaning as DataReference['meaning']) : undefined, ...referring(data) };
    }),
    // Deeper than anybody writes: denied as a whole.
    nested: list(node['provision']).filter(isObject).map((one) => (depth < maxDepth ? provisionOf(one, values, depth + 1) : { ...provisionOf({}, values, 1), type: 'deny' })),
  };
}
