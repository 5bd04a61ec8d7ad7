import { SinkError, type Sink } from '../../channels/ports.ts';
import { sourceUrn, type PlannedResource } from '../../mappings/engine/plan.ts';
import { InterlockError } from '../../resources/outcome/error.ts';
import { contextOfPartner } from '../access/grants.ts';
import { GuardedRepository, type GuardServices } from '../access/guard.ts';
import type { GuardedTransaction, TransactionWrite } from '../access/guarded-transaction.ts';
import { conditionOf, identifierClaim } from '../fhir/conditions.ts';
import { newId } from '../fhir/ids.ts';
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
      try {
        const facts = { interaction: 'transaction', action: 'E', query: `channel ${request.channelId} ${request.plan.messageType}` } as const;
        return { stored: await guard.transaction(facts, async (tx) => store(services, request, tx)) };
      } catch (error) {
        throw sinkError(error);
      }
    },
  };
}

async function store(services: GuardServices, request: Commit, tx: GuardedTransaction): Promise<string[]> {
  const { plan } = request;
  // A resource that is only looked up is claimed later, if it has to be made: else all messages that name one ward would wait for each other.
  await tx.claim(plan.resources.filter(({ mode }) => mode === 'merge').flatMap(claimsOf).sort());
  const met = new Map<string, Met>();
  for (const planned of plan.resources) {
    const stored = await findStored(tx, planned);
    if (stored === undefined && !planned.createIfAbsent) continue;
    if (stored === undefined && planned.mode === 'keep') await tx.claim(claimsOf(planned).sort());
    met.set(planned.key, { planned, id: stored?.id ?? newId(), ...(stored === undefined ? {} : { stored }) });
  }
  const sourceId = newId();
  const references = new Map([...met].map(([key, { planned, id }]) => [`urn:key:${key}`, `${planned.resource.resourceType}/${id}`]));
  const creates: TransactionWrite[] = [];
  const updates: TransactionWrite[] = [];
  for (const one of met.values()) {
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

function claimsOf(planned: PlannedResource): string[] {
  return planned.match.map(({ system, value }) => identifierClaim(planned.resource.resourceType, `${system}|${value}`));
}

/** The stored resource that the first matching identifier names. */
async function findStored(tx: GuardedTransaction, planned: PlannedResource): Promise<StoredVersion | undefined> {
  if (planned.mode === 'create') return undefined;
  const type = planned.resource.resourceType;
  for (const { system, value } of planned.match) {
    const token = `${escapeToken(system)}|${escapeToken(value)}`;
    const found = await tx.find([type], conditionOf(type, [['identifier', token]]).where, 2);
    const candidates = found.length > 1 ? found.filter((version) => version.resource()['active'] !== false) : found;
    if (candidates.length > 1) throw new InterlockError('multiple-matches', { rule: `identifier of ${type} is not unique` });
    if (candidates[0] !== undefined) return candidates[0];
  }
  return undefined;
}

/** Escapes what has a meaning in a search value (https://hl7.org/fhir/R4/search.html#escaping). */
function escapeToken(text: string): string {
  return text.replaceAll(/[\\,|$]/g, String.raw`\$&`);
}

/** Tells the router whether trying again can help. */
function sinkError(error: unknown): unknown {
  if (error instanceof SinkError || !(error instanceof InterlockError)) return error;
  const retry = error.code === 'outcome-unknown' ? 'ambiguous' : error.status >= 500 || error.code === 'version-conflict' || error.code === 'version-stale' ? 'transient' : 'permanent';
  return new SinkError(retry, error.code, error.message, error);
}
