import { isDeepStrictEqual } from 'node:util';
import type { ResourceJson } from '../storage/contract.ts';
import type { Met } from './sink.ts';

/** When the event happened that last changed a resource, kept in its meta: an older message must not overwrite a newer one. */
const eventAtUrl = 'urn:interlock:source-event-at';

type Json = Record<string, unknown>;

/**
 * What is to be written of a planned resource, given what is stored.
 *
 * A new resource is written as planned. Of a stored one, elements that the message carries replace those stored, its
 * deletions (`""`) remove theirs, everything else stays, and identifiers add up. A message about an earlier event than
 * the last one applied only fills what is still empty.
 *
 * @returns undefined if nothing changes
 */
export function meet({ planned, stored }: Met, resource: ResourceJson, eventAtMs: number | undefined): ResourceJson | undefined {
  if (stored === undefined) return stamped(resource, eventAtMs);
  if (planned.mode !== 'merge') return undefined;
  const before = stored.resource();
  const appliedAtMs = eventAtOf(before);
  const late = eventAtMs !== undefined && appliedAtMs !== undefined && eventAtMs < appliedAtMs;
  const carried: Json = { ...resource, ...identifiers(before, resource) };
  delete carried['meta'];
  const kept: Json = { ...before };
  if (!late) for (const element of planned.clear) if (!(element in resource)) Reflect.deleteProperty(kept, element);
  const merged = (late ? { ...carried, ...kept, ...identifiers(before, resource) } : withoutOtherChoices(kept, carried)) as ResourceJson;
  if (isDeepStrictEqual({ ...merged, meta: undefined }, { ...before, meta: undefined })) return undefined;
  return stamped(merged, late ? appliedAtMs : (eventAtMs ?? appliedAtMs));
}

/** Elements of the message over those stored; a choice element (`deceased[x]`) that changes its type replaces the other type. */
function withoutOtherChoices(kept: Json, carried: Json): Json {
  const result = { ...kept };
  for (const name of Object.keys(carried)) {
    const base = choiceBases.find((prefix) => name.startsWith(prefix) && /^[A-Z]/.test(name.slice(prefix.length)));
    if (base !== undefined) for (const other of Object.keys(result)) if (other !== name && other.startsWith(base) && /^[A-Z]/.test(other.slice(base.length))) Reflect.deleteProperty(result, other);
  }
  return { ...result, ...carried };
}

const choiceBases = ['deceased', 'multipleBirth', 'medication', 'reported', 'onset', 'abatement', 'value', 'effective', 'performed', 'occurrence'];

/** Identifiers of both, each system and value once; those of the message first. */
function identifiers(before: ResourceJson, after: ResourceJson): Json {
  const all = [after['identifier'], before['identifier']].flatMap((list) => (Array.isArray(list) ? (list as Json[]) : []));
  const unique = new Map(all.reverse().map((identifier) => [`${String(identifier['system'])}|${String(identifier['value'])}`, identifier]));
  return unique.size === 0 ? {} : { identifier: [...unique.values()].reverse() };
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
