import { InterlockError } from '../../resources/outcome/error.ts';
import { extractSearchValues, patientsOf, type ValueContext } from '../../resources/search-values/index.ts';
import type { Criterion } from '../search/criteria.ts';
import { matches } from '../search/match.ts';
import type { ResourceJson, StoredVersion } from '../storage/contract.ts';
import { assertConsent } from './consent-check.ts';
import type { Reach } from './decide.ts';

/** True if a stored version is within a reach. A deletion is judged by the compartment that it was in. */
export function sees(reach: Reach, version: StoredVersion, values: ValueContext): boolean {
  if (reach.unlimited) return true;
  // The usual case is a grant that is limited by compartment alone.
  return byCompartment(reach.criterion, version.patients()) ?? (!version.deleted && meets(reach.criterion, version.resource(), version.id, version.lastUpdated, values));
}

/**
 * Checks that a resource about to be written is within a reach, so that nobody can write where they could not read.
 * @throws InterlockError `forbidden`
 */
export function assertReaches(reach: Reach, resource: ResourceJson, id: string, values: ValueContext): void {
  assertConsent(resource);
  if (reach.unlimited || meets(reach.criterion, resource, id, new Date(), values)) return;
  throw new InterlockError('forbidden', { rule: 'compartment: the content is outside what the caller may write' });
}

/**
 * Checks that a limited caller sees what it is about to change.
 * @param current version as it is now, if any
 * @param mayCreate the caller may create under an id of its own, and what is not there or was deleted within its sight is created
 * @returns the version that must still be current when it is written; 0 if there is none
 * @throws InterlockError `not-found`, `version-stale`
 */
export function versionToReplace(reach: Reach, current: StoredVersion | undefined, ifMatch: number | undefined, values: ValueContext, mayCreate = false): number {
  if (!mayCreate || (current !== undefined && !(current.deleted && sees(reach, current, values)))) return versionToWrite(reach, current, ifMatch, values);
  // A condition on a version is never met by what is not there.
  if (ifMatch !== undefined && ifMatch !== 0 && ifMatch !== current?.versionId) throw new InterlockError('version-stale');
  return current?.versionId ?? 0;
}

function versionToWrite(reach: Reach, current: StoredVersion | undefined, ifMatch: number | undefined, values: ValueContext): number {
  if (current === undefined || current.deleted || !sees(reach, current, values)) throw notFound(current !== undefined);
  if (ifMatch !== undefined && ifMatch !== current.versionId) throw new InterlockError('version-stale');
  return current.versionId;
}

/**
 * The version that a caller may change in part: it must be within what the caller may change and within what it may read,
 * for the outcome of a patch tells of the content that it was applied to.
 * @param reaches all of them must cover it
 * @throws InterlockError `not-found`, `deleted`, `version-stale`
 */
export function versionToPatch(reaches: readonly Reach[], current: StoredVersion | undefined, ifMatch: number | undefined, values: ValueContext): StoredVersion {
  if (current === undefined || !reaches.every((reach) => sees(reach, current, values))) throw notFound(current !== undefined);
  if (current.deleted) throw new InterlockError('deleted');
  if (ifMatch !== undefined && ifMatch !== current.versionId) throw new InterlockError('version-stale');
  return current;
}

/** The same answer whether a resource is absent or hidden; only the sealed audit knows. */
export function notFound(hidden: boolean): InterlockError {
  return new InterlockError('not-found', hidden ? { rule: 'compartment: outside what the caller may see' } : {});
}

function meets(criterion: Criterion, resource: ResourceJson, id: string, lastUpdated: Date, context: ValueContext): boolean {
  const subject = { ...resource, id };
  return matches({ type: resource.resourceType, id, lastUpdatedMs: lastUpdated.getTime(), values: extractSearchValues(subject, context), patients: patientsOf(subject, context), content: { resource: subject, context } }, criterion);
}

/** What compartments alone tell of a criterion, without parsing; undefined if more must be known. */
function byCompartment(criterion: Criterion, patients: readonly string[]): boolean | undefined {
  switch (criterion.op) {
    case 'compartment':
      return criterion.ids.some((id) => patients.includes(id));
    case 'any':
    case 'all': {
      const verdicts = criterion.of.map((one) => byCompartment(one, patients));
      const decisive = criterion.op === 'any';
      if (verdicts.includes(decisive)) return decisive;
      return verdicts.includes(undefined) ? undefined : !decisive;
    }
    case 'not': {
      const verdict = byCompartment(criterion.of, patients);
      return verdict === undefined ? undefined : !verdict;
    }
    default:
      return undefined;
  }
}
