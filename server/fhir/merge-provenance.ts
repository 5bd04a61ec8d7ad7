import type { Provenance } from '@medplum/fhirtypes';
import { assertValid } from '../../resources/validate/index.ts';
import type { AccessContext } from '../access/context.ts';
import type { GuardServices } from '../access/guard.ts';
import type { GuardedTransaction } from '../access/guarded-transaction.ts';
import type { ResourceJson, ResourceKey, StoredVersion } from '../storage/contract.ts';
import { conditionOf } from './conditions.ts';
import { newId } from './ids.ts';
import type { Merge } from './merge.ts';

/** A version that a merge made. */
export interface Made extends ResourceKey {
  readonly versionId: number;
}

const lifecycle = 'http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle';
/** Versions that one Provenance names, beside those of the two patients; a large merge has several. */
const targetsEach = 500;
/** Provenances of merges of the same two patients that are looked at. */
const maxFound = 200;

/**
 * Records which versions a merge, or its reversal, made of what (https://hl7.org/fhir/R4/provenance.html): the only thing that
 * {@link madeByMerge} goes by.
 * @param made the target, the source, then the others
 * @throws InterlockError `forbidden` if the caller may not create Provenances
 */
export async function recordMerge(services: Pick<GuardServices, 'store' | 'nowMs'>, tx: GuardedTransaction, code: 'merge' | 'unmerge', { source }: Pick<Merge, 'source'>, made: readonly Made[], { actor }: AccessContext): Promise<void> {
  const [target, retired, ...others] = made.map(({ type, id, versionId }) => ({ reference: `${type}/${id}/_history/${versionId}` }));
  const recorded = new Date(services.nowMs()).toISOString();
  const writes = [];
  for (let from = 0; from === 0 || from < others.length; from += targetsEach) {
    const resource = {
      resourceType: 'Provenance',
      target: [target!, retired!, ...others.slice(from, from + targetsEach)],
      recorded,
      activity: { coding: [{ system: lifecycle, code }] },
      agent: [{ type: { coding: [{ system: 'http://terminology.hl7.org/CodeSystem/provenance-participant-type', code: 'performer', display: 'Performer' }] }, who: { identifier: { system: `urn:interlock:${actor.kind}`, value: actor.id } } }],
      entity: [{ role: 'source', what: { reference: `Patient/${source.id}/_history/${source.versionId}` } }],
    } satisfies Provenance;
    assertValid(resource);
    const id = newId();
    writes.push({ type: 'Provenance', id, resource: resource as ResourceJson, prepared: services.store.prepare(resource, id) });
  }
  await tx.create(writes);
}

/** The versions that the last merge of these two made, in the order that {@link recordMerge} was given; none if there was none that the caller may find. */
export async function madeByMerge({ values }: Pick<GuardServices, 'values'>, tx: GuardedTransaction, sourceId: string, targetId: string): Promise<readonly Made[]> {
  const { where } = conditionOf('Provenance', [['target', `Patient/${targetId}`], ['target', `Patient/${sourceId}`]], values);
  const merges = (await tx.find(['Provenance'], where, maxFound))
    .map((version) => ({ merge: version.resource() as unknown as Provenance, order: version.order }))
    .filter(({ merge: { activity, target } }) => activity?.coding?.some(({ system, code }) => system === lifecycle && code === 'merge') === true && target[0]?.reference?.startsWith(`Patient/${targetId}/_history/`) === true && target[1]?.reference?.startsWith(`Patient/${sourceId}/_history/`) === true)
    .sort((a, b) => (a.order < b.order ? -1 : 1));
  const last = merges.at(-1)?.merge;
  if (last === undefined) return [];
  const parts = merges.map(({ merge }) => merge).filter(({ target }) => target[0]!.reference === last.target[0]!.reference && target[1]!.reference === last.target[1]!.reference);
  return [...new Set(parts.flatMap(({ target }) => target.map(({ reference }) => reference ?? '')))].flatMap(madeOf);
}

function madeOf(reference: string): Made[] {
  const [, type, id, versionId] = /^([A-Z]\w+)\/([\w.-]+)\/_history\/([1-9]\d{0,8})$/.exec(reference) ?? [];
  return type === undefined ? [] : [{ type, id: id!, versionId: Number(versionId) }];
}

/** The key that tells versions of different resources apart. */
export function keyOf({ type, id }: ResourceKey | StoredVersion): string {
  return `${type}/${id}`;
}
