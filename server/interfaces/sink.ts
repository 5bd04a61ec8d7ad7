import type { Sink } from '../../channels/ports.ts';
import { sourceUrn, type PlannedResource } from '../../mappings/engine/plan.ts';
import { InterlockError } from '../../resources/outcome/error.ts';
import { normalizeCode } from '../../resources/search-values/index.ts';
import { contextOfPartner } from '../access/grants.ts';
import { GuardedRepository, type GuardServices } from '../access/guard.ts';
import type { GuardedTransaction, TransactionWrite } from '../access/guarded-transaction.ts';
import { conditionOf, identifierClaim } from '../fhir/conditions.ts';
import { newId } from '../fhir/ids.ts';
import type { AskedCriterion } from '../search/criteria.ts';
import type { StoredVersion } from '../storage/contract.ts';
import { mergePatients } from './merge-patients.ts';
import { meet } from './meet.ts';
import { provenanceOf } from './provenance.ts';
import { linked } from './links.ts';
import { writeOf } from './write-of.ts';

type Commit = Parameters<Sink['commit']>[0];

/** A planned resource and what is stored of it. */
export interface Met {
  readonly planned: PlannedResource;
  readonly id: string;
  readonly stored?: StoredVersion;
}

/**
 * Writes what a message asks for through the guarded repository as the partner's principal: resources found by business
 * identifier or created, patient merges, the sealed source with its Provenance, and the inbox row's new state, all in
 * one transaction.
 */
export function createSink(services: GuardServices): Sink {
  return {
    commit: async (request) => {
      const context = contextOfPartner(request.partner.name, { requestId: request.messageId, address: request.partner.address });
      const channel = { id: request.channelId, messageId: request.messageId, messageType: request.plan.messageType, ...(request.controlId === undefined ? {} : { controlId: request.controlId }) };
      const guard = new GuardedRepository(services, context, channel);
      const facts = { interaction: 'transaction', action: 'E', query: `channel ${request.channelId} ${request.plan.messageType}` } as const;
      return { stored: await guard.transaction(facts, async (tx) => store(services, request, tx)) };
    },
  };
}

async function store(services: GuardServices, request: Commit, tx: GuardedTransaction): Promise<string[]> {
  const { plan } = request;
  // A resource that is only looked up is claimed later, if it has to be made: else all messages that name one ward would wait for each other.
  await tx.claim(plan.resources.filter(({ mode }) => mode === 'merge').flatMap(claimsOf).sort());
  const met = await meetAll(tx, plan.resources);
  const sourceId = newId();
  const references = new Map([...met].map(([key, { planned, id }]) => [`urn:key:${key}`, `${planned.resource.resourceType}/${id}`]));
  const creates: TransactionWrite[] = [];
  const updates: TransactionWrite[] = [];
  for (const one of new Set(met.values())) {
    const resource = meet(one, linked(one.planned.resource, new Map([...references, [sourceUrn, `Binary/${sourceId}`]])), plan.eventAtMs);
    if (resource === undefined) continue;
    (one.stored === undefined ? creates : updates).push(writeOf(services, resource, one.id, one.stored?.versionId));
  }
  const written = [...creates, ...updates].map(({ type, id }) => `${type}/${id}`);
  const { binary, provenance } = provenanceOf(request, sourceId, written.length > 0 ? written : [...references.values()]);
  creates.push(writeOf(services, binary, sourceId));
  if (provenance !== undefined) creates.push(writeOf(services, provenance, newId()));
  await tx.create(creates);
  for (const write of updates) await tx.update(write);
  for (const merge of plan.merges) await mergePatients(services, tx, met.get(merge.survivor)?.id, met.get(merge.retired)?.id);
  const stored = [...references.values()];
  await request.advance(tx.session, stored);
  return stored;
}

/** What is stored of each planned resource. Two that turn out to be the same become one: the first says what it is like. */
async function meetAll(tx: GuardedTransaction, resources: readonly PlannedResource[]): Promise<Map<string, Met>> {
  const met = new Map<string, Met>();
  const known = new Map<string, Met>();
  const byIdentifier = await lookUp(tx, resources);
  for (const planned of resources) {
    const claims = planned.mode === 'create' ? [] : claimsOf(planned);
    let one = claims.map((claim) => known.get(claim)).find((same) => same !== undefined);
    if (one === undefined) {
      const stored = await storedOf(tx, planned, byIdentifier);
      if (stored === undefined && !planned.createIfAbsent) continue;
      if (stored === undefined && planned.mode === 'keep') await tx.claim(claims.toSorted());
      const id = stored?.id ?? newId();
      one = known.get(`${planned.resource.resourceType}/${id}`) ?? { planned, id, ...(stored === undefined ? {} : { stored }) };
    }
    met.set(planned.key, one);
    for (const name of [...claims, `${planned.resource.resourceType}/${one.id}`]) known.set(name, one);
  }
  return met;
}

function claimsOf(planned: PlannedResource): string[] {
  return planned.match.map(({ system, value }) => identifierClaim(planned.resource.resourceType, `${system}|${value}`));
}

/** Bound on what the identifiers of one message may match: more than a few each is a record gone wrong. */
const maxMatches = 1_000;

/** What is stored under the identifiers of all planned resources, found in one search. */
async function lookUp(tx: GuardedTransaction, resources: readonly PlannedResource[]): Promise<ReadonlyMap<string, readonly StoredVersion[]>> {
  const wanted = resources.filter(({ mode, match }) => mode !== 'create' && match.length > 0);
  if (wanted.length === 0) return new Map();
  const of = wanted.map(({ resource: { resourceType }, match }): AskedCriterion => {
    const tokens = match.map(({ system, value }) => `${escapeToken(system)}|${escapeToken(value)}`);
    return { op: 'all', of: [{ op: 'type', types: [resourceType] }, conditionOf(resourceType, [['identifier', tokens.join(',')]], {}).where] };
  });
  const found = await tx.find([...new Set(wanted.map(({ resource }) => resource.resourceType))], { op: 'any', of }, maxMatches);
  if (found.length === maxMatches) throw new InterlockError('multiple-matches', { rule: 'identifiers of the message match too much' });
  const byIdentifier = new Map<string, StoredVersion[]>();
  for (const version of found) {
    const identifiers = (version.resource()['identifier'] ?? []) as { readonly system?: string; readonly value?: string }[];
    for (const { system = '', value = '' } of Array.isArray(identifiers) ? identifiers : [identifiers]) {
      const key = identifierKey(version.type, system, value);
      const others = byIdentifier.get(key) ?? [];
      if (!others.includes(version)) byIdentifier.set(key, [...others, version]);
    }
  }
  return byIdentifier;
}

/** Values compare as searches compare them. */
function identifierKey(type: string, system: string, value: string): string {
  return `${type}|${system}|${normalizeCode(value)}`;
}

/** The stored resource that the first matching identifier names. */
async function storedOf(tx: GuardedTransaction, planned: PlannedResource, byIdentifier: ReadonlyMap<string, readonly StoredVersion[]>): Promise<StoredVersion | undefined> {
  if (planned.mode === 'create') return undefined;
  const type = planned.resource.resourceType;
  for (const { system, value } of planned.match) {
    const found = byIdentifier.get(identifierKey(type, system, value)) ?? [];
    const candidates = found.length > 1 ? found.filter((version) => version.resource()['active'] !== false) : found;
    if (candidates.length > 1) throw new InterlockError('multiple-matches', { rule: `identifier of ${type} is not unique` });
    const [one] = candidates.length > 0 ? candidates : found;
    if (one !== undefined) return type === 'Patient' ? survivorOf(tx, one) : one;
  }
  return undefined;
}

/** Bound on merges of merges. */
const maxMergeChain = 10;

/** The record that a merged patient lives on in: messages under an old number concern that one. */
async function survivorOf(tx: GuardedTransaction, patient: StoredVersion): Promise<StoredVersion> {
  let current = patient;
  for (let step = 0; step < maxMergeChain; step += 1) {
    const links = current.resource()['link'] as { readonly type: string; readonly other: { readonly reference?: string } }[] | undefined;
    const replacedBy = links?.find(({ type }) => type === 'replaced-by')?.other.reference?.split('/')[1];
    const next = current.resource()['active'] === false && replacedBy !== undefined ? await tx.read('Patient', replacedBy) : undefined;
    if (next === undefined) return current;
    current = next;
  }
  return current;
}

/** Escapes what has a meaning in a search value (https://hl7.org/fhir/R4/search.html#escaping). */
function escapeToken(text: string): string {
  return text.replaceAll(/[\\,|$]/g, String.raw`\$&`);
}
