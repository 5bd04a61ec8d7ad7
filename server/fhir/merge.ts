import { parseReference } from '../../resources/search-values/index.ts';
import type { GuardServices } from '../access/guard.ts';
import type { GuardedTransaction, TransactionWrite } from '../access/guarded-transaction.ts';
import type { ResourceJson, StoredVersion, WriteResult } from '../storage/contract.ts';
import { parseExact, writeExact } from './patch/exact-json.ts';

/** Bound on what one merge moves: it all happens in one transaction. */
const maxMoved = 3_000;

/** Two records of one patient, as they are: the source goes, the target stays. */
export interface Merge {
  readonly source: StoredVersion;
  readonly target: StoredVersion;
}

/** An element `Patient.link`. */
export interface PatientLink {
  readonly other: { readonly reference?: string };
  readonly type: string;
}

type Services = Pick<GuardServices, 'store' | 'values'>;
type Tree = Record<string, unknown>;

/**
 * What refers to the source of a merge and moves with it: all that a search parameter leads from. A Provenance stays, for it
 * tells what was true when it was recorded; so do references that name a version, and links of other patients, which lead on.
 * @throws InterlockError `forbidden` if the caller may not read and update all of it; `too-costly` beyond 3,000
 */
export async function movedBy({ values }: Services, tx: GuardedTransaction, sourceId: string): Promise<readonly StoredVersion[]> {
  return tx.referrers({ type: 'Patient', id: sourceId }, maxMoved, (version) => version.type !== 'Patient' && isMoved(version.resource(), sourceId, values.baseUrl));
}

/**
 * Merges two records of one patient: the source becomes inactive and is replaced by the target, and what refers to it refers
 * to the target afterwards (https://hl7.org/fhir/R4/patient.html#merging).
 * @param moved what {@link movedBy} found in the same transaction
 * @param targetAfter makes the target's new content, numbers as `parseExact` gives them; its link to the source is seen to
 * @returns what was written: the target, the source, then what moved
 * @throws InterlockError `forbidden` if the caller may not write one of them; nothing is changed then
 */
export async function applyMerge(services: Services, tx: GuardedTransaction, { source, target }: Merge, moved: readonly StoredVersion[], targetAfter: (target: Tree) => Tree): Promise<readonly WriteResult[]> {
  const { baseUrl } = services.values;
  return tx.updateMany([
    rewrite(services, target, (tree) => withLink(targetAfter(tree), 'replaces', source.id)),
    rewrite(services, source, (tree) => ({ ...withLink(tree, 'replaced-by', target.id), active: false })),
    ...moved.map((version) => rewrite(services, version, (tree) => relinked(tree, source.id, target.id, baseUrl) as Tree)),
  ]);
}

/** A write that gives a version another content; numbers that are not touched keep their digits. */
function rewrite(services: Services, current: StoredVersion, change: (tree: Tree) => Tree): { readonly current: StoredVersion; readonly write: TransactionWrite } {
  return replacedBy(services, current, Buffer.from(writeExact(change(parseExact(current.bytes.toString()) as Tree))));
}

/** A write that replaces a version by this content. */
export function replacedBy({ store }: Pick<Services, 'store'>, current: StoredVersion, bytes: Buffer): { readonly current: StoredVersion; readonly write: TransactionWrite } {
  const { type, id } = current;
  const resource = JSON.parse(bytes.toString()) as ResourceJson;
  return { current, write: { type, id, resource, prepared: store.prepare(resource, id, bytes) } };
}

/** The same patient with this link as the only one to the other. */
function withLink(patient: Tree, type: 'replaces' | 'replaced-by', otherId: string): Tree {
  const reference = `Patient/${otherId}`;
  const links = (patient['link'] ?? []) as PatientLink[];
  return { ...patient, link: [...links.filter(({ other }) => other.reference !== reference), { other: { reference }, type }] };
}

/** The same content with all references to one patient leading to another. */
function relinked(node: unknown, fromId: string, toId: string, baseUrl: string | undefined): unknown {
  if (Array.isArray(node)) return node.map((item) => relinked(item, fromId, toId, baseUrl));
  if (typeof node !== 'object' || node === null) return node;
  return Object.fromEntries(Object.entries(node).map(([name, value]) => [name, isReferenceTo(name, value, fromId, baseUrl) ? `Patient/${toId}` : relinked(value, fromId, toId, baseUrl)]));
}

function isMoved(node: unknown, id: string, baseUrl: string | undefined): boolean {
  if (typeof node !== 'object' || node === null) return false;
  return Object.entries(node).some(([name, value]) => isReferenceTo(name, value, id, baseUrl) || isMoved(value, id, baseUrl));
}

/** A reference that names a version means that version, whoever the patient became. */
function isReferenceTo(name: string, value: unknown, id: string, baseUrl: string | undefined): boolean {
  if (name !== 'reference' || typeof value !== 'string' || !value.endsWith(`Patient/${id}`)) return false;
  const { type, id: named, base } = parseReference(value) ?? {};
  return type === 'Patient' && named === id && (base === undefined || base === baseUrl?.replace(/\/$/, ''));
}
