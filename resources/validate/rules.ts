import { isResourceType, requiredCodings } from '../definitions/index.ts';
import { narrativeFault } from './narrative.ts';
import type { Report } from './report.ts';

export type JsonObject = Readonly<Record<string, unknown>>;

/** True for a JSON object: neither null nor an array. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The objects of an array; none if it is no array. */
export function objectsOf(value: unknown): readonly JsonObject[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

/** Adds what it finds wrong with an object of its type, at a JSON pointer. */
export type Rule = (report: Report, data: JsonObject, pointer: string) => void;

/** Rules of the specification that hold for a type wherever it occurs, beyond its structure; named by their published keys. */
export const rulesByNode: ReadonlyMap<string, Rule> = new Map<string, Rule>([
  ['Extension', extensionHasValueOrExtensions],
  ['Narrative', narrativeIsHarmless],
  ['Period', periodStartsBeforeItEnds],
  ['Bundle', bundleFitsItsType],
]);

/** ext-1: https://hl7.org/fhir/R4/extensibility.html */
function extensionHasValueOrExtensions(report: Report, data: JsonObject, pointer: string): void {
  let hasValue = false;
  for (const name in data) if (name.startsWith('value') || name.startsWith('_value')) hasValue = true;
  if (hasValue === (data['extension'] !== undefined)) report.add(pointer, 'business-rule', 'An extension has either a value or extensions of its own (ext-1).');
}

function narrativeIsHarmless(report: Report, data: JsonObject, pointer: string): void {
  if (typeof data['div'] !== 'string') return;
  const fault = narrativeFault(data['div']);
  if (fault !== undefined) report.add(`${pointer}/div`, 'business-rule', `${fault} (txt-1, txt-2)`);
}

/** per-1: https://hl7.org/fhir/R4/datatypes.html#Period */
function periodStartsBeforeItEnds(report: Report, { start, end }: JsonObject, pointer: string): void {
  if (typeof start === 'string' && typeof end === 'string' && isAfter(start, end)) report.add(pointer, 'business-rule', 'A period ends before it starts (per-1).');
}

/** Compares to the precision that both have; without times, as calendar dates. Not comparable is not after. */
function isAfter(a: string, b: string): boolean {
  if (a.length > 10 && b.length > 10) return Date.parse(a) > Date.parse(b);
  const length = Math.min(a.length, b.length, 10);
  return a.slice(0, length) > b.slice(0, length);
}

/** bdl-1, bdl-2, bdl-3, bdl-4, bdl-7: https://hl7.org/fhir/R4/bundle.html#invs */
function bundleFitsItsType(report: Report, data: JsonObject, pointer: string): void {
  const { type, total } = data;
  const isOneOf = (...types: string[]) => typeof type === 'string' && types.includes(type);
  if (total !== undefined && !isOneOf('searchset', 'history')) report.add(`${pointer}/total`, 'business-rule', 'Only a search or history has a total (bdl-1).');
  const wantsRequest = isOneOf('batch', 'transaction', 'history');
  const wantsResponse = isOneOf('batch-response', 'transaction-response', 'history');
  const fullUrls = new Set<string>();
  if (!Array.isArray(data['entry'])) return;
  data['entry'].forEach((entry: unknown, index) => {
    if (!isObject(entry) || report.full) return;
    const at = `${pointer}/entry/${index}`;
    if (entry['search'] !== undefined && type !== 'searchset') report.add(`${at}/search`, 'business-rule', 'Only a search has search results (bdl-2).');
    // A batch that does not say what to do is no request at all: 400 rather than 422.
    if (wantsRequest && entry['request'] === undefined) report.add(at, 'structure-invalid', 'The entry has no request (bdl-3).');
    if (!wantsRequest && entry['request'] !== undefined) report.add(`${at}/request`, 'business-rule', 'Only a batch, transaction or history has requests (bdl-3).');
    if (wantsResponse !== (entry['response'] !== undefined)) report.add(at, 'business-rule', 'A response or history has a response in each entry, other Bundles have none (bdl-4).');
    if (typeof entry['fullUrl'] !== 'string' || type === 'history') return;
    const { resource } = entry;
    const versionId = isObject(resource) && isObject(resource['meta']) ? resource['meta']['versionId'] : undefined;
    const key = `${entry['fullUrl']} ${typeof versionId === 'string' ? versionId : ''}`;
    if (fullUrls.has(key)) report.add(`${at}/fullUrl`, 'business-rule', 'Two entries have the same fullUrl (bdl-7).');
    fullUrls.add(key);
  });
}

// [type]/[id], with or without a version; or a search that a transaction resolves (https://hl7.org/fhir/R4/http.html#trules)
const relativeReference = /^([A-Za-z]+)(?:\/[A-Za-z0-9\-.]{1,64}(?:\/_history\/[A-Za-z0-9\-.]{1,64})?|\?.+)$/;
const absoluteReference = /^[A-Za-z][A-Za-z0-9+.-]*:./;

/**
 * A Reference's literal form and target type (https://hl7.org/fhir/R4/references.html). What an absolute URL leads to is not
 * known here.
 */
export function checkReference(report: Report, data: JsonObject, pointer: string, targets: ReadonlySet<string> | undefined): void {
  const { reference, type } = data;
  if (typeof type === 'string' && targets !== undefined && isResourceType(type) && !targets.has(type)) report.add(`${pointer}/type`, 'business-rule', 'This element cannot refer to that type of resource.');
  if (typeof reference !== 'string' || reference === '') return;
  if (reference.startsWith('#')) {
    report.localReferences.push({ pointer: `${pointer}/reference`, id: reference.slice(1), mustResolve: true, targets });
    return;
  }
  const literalType = relativeReference.exec(reference)?.[1];
  if (literalType === undefined) {
    if (!absoluteReference.test(reference)) report.add(`${pointer}/reference`, 'business-rule', 'A reference is Type/id, an absolute URL or # with the id of a contained resource.');
  } else if (!isResourceType(literalType)) report.add(`${pointer}/reference`, 'business-rule', 'The reference names no FHIR resource type.');
  else if (targets?.has(literalType) === false) report.add(`${pointer}/reference`, 'business-rule', 'This element cannot refer to that type of resource.');
  else if (typeof type === 'string' && isResourceType(type) && type !== literalType) report.add(`${pointer}/type`, 'business-rule', 'The reference and its type contradict each other.');
}

/** A required binding of a CodeableConcept: one of its codings must be in the value set (https://hl7.org/fhir/R4/terminologies.html#required). */
export function checkConceptBinding(report: Report, data: JsonObject, pointer: string, valueSet: string): void {
  const codings = requiredCodings(valueSet);
  if (codings === undefined || (data['coding'] !== undefined && !Array.isArray(data['coding']))) return;
  const isIn = ({ system, code }: JsonObject) => typeof system === 'string' && typeof code === 'string' && codings.get(system)?.has(code) === true;
  if (!objectsOf(data['coding']).some(isIn)) report.add(pointer, 'code-invalid', 'None of the codings is in the required value set.');
}

/** dom-2 to dom-5 and ref-1, once a resource and what it contains have been read (https://hl7.org/fhir/R4/domainresource.html#invs). */
export function checkContained(report: Report, data: JsonObject, pointer: string): void {
  const contained = Array.isArray(data['contained']) ? data['contained'] : [];
  const byId = new Map<string, JsonObject>();
  contained.forEach((one: unknown, index) => {
    if (!isObject(one)) return;
    const { id, meta } = one;
    const at = `${pointer}/contained/${index}`;
    if (one['contained'] !== undefined) report.add(at, 'business-rule', 'A contained resource contains another one (dom-2).');
    if (isObject(meta) && (meta['versionId'] !== undefined || meta['lastUpdated'] !== undefined)) report.add(`${at}/meta`, 'business-rule', 'A contained resource has no version of its own (dom-4).');
    if (isObject(meta) && meta['security'] !== undefined) report.add(`${at}/meta`, 'business-rule', 'A contained resource has no security labels of its own (dom-5).');
    const refersToContainer = () => report.localReferences.some((reference) => reference.id === '' && reference.pointer.startsWith(`${at}/`));
    const isReferredTo = typeof id === 'string' && report.localReferences.some((reference) => reference.id === id);
    if (!isReferredTo && !refersToContainer()) report.add(at, 'business-rule', 'Nothing refers to this contained resource (dom-3).');
    if (typeof id !== 'string') return;
    if (byId.has(id)) report.add(`${at}/id`, 'business-rule', 'Two contained resources have the same id.');
    byId.set(id, one);
  });
  for (const { pointer: at, id, mustResolve, targets } of report.localReferences) {
    if (!mustResolve || id === '') continue;
    const target = byId.get(id);
    if (target === undefined) report.add(at, 'business-rule', 'No contained resource has this id (ref-1).');
    else if (typeof target['resourceType'] === 'string' && targets?.has(target['resourceType']) === false) report.add(at, 'business-rule', 'This element cannot refer to that type of resource.');
  }
}
