import { isDeepStrictEqual } from 'node:util';
import { mergePlanned } from '../../mappings/engine/merge.ts';
import type { ResourceJson } from '../storage/contract.ts';
import type { Met } from './sink.ts';

/** When the event happened that last changed a resource, kept in its meta: an older message must not overwrite a newer one. */
const eventAtUrl = 'urn:interlock:source-event-at';

/**
 * What is to be written of a planned resource, given what is stored.
 *
 * A new resource is written as planned. A stored one takes what the message carries, by the rules of the mapping engine:
 * its deletions (`""`) remove, defaults never replace, everything else stays. A message about an earlier event than the
 * last one applied only fills what is still empty.
 *
 * @returns undefined if nothing changes
 */
export function meet({ planned, stored }: Met, resource: ResourceJson, eventAtMs: number | undefined): ResourceJson | undefined {
  if (stored === undefined) return stamped(resource, eventAtMs);
  if (planned.mode !== 'merge') return undefined;
  const before = stored.resource();
  const appliedAtMs = eventAtOf(before);
  const late = eventAtMs !== undefined && appliedAtMs !== undefined && eventAtMs < appliedAtMs;
  const merged = late ? { ...resource, ...before } : (mergePlanned(before, { resource, clear: planned.clear, ...(planned.fill === undefined ? {} : { fill: planned.fill }) }) as ResourceJson);
  if (isDeepStrictEqual({ ...merged, meta: undefined }, { ...before, meta: undefined })) return undefined;
  return stamped({ ...merged, meta: before['meta'] }, late ? appliedAtMs : (eventAtMs ?? appliedAtMs));
}

function eventAtOf(resource: ResourceJson): number | undefined {
  const meta = resource['meta'] as { extension?: { url?: string; valueInstant?: string }[] } | undefined;
  const text = meta?.extension?.find(({ url }) => url === eventAtUrl)?.valueInstant;
  return text === undefined ? undefined : Date.parse(text);
}

function stamped(resource: ResourceJson, eventAtMs: number | undefined): ResourceJson {
  if (eventAtMs === undefined) return resource;
  const meta = (resource['meta'] ?? {}) as { extension?: { url?: string }[] };
  const extension = [...(meta.extension ?? []).filter(({ url }) => url !== eventAtUrl), { url: eventAtUrl, valueInstant: new Date(eventAtMs).toISOString() }];
  return { ...resource, meta: { ...meta, extension } };
}
