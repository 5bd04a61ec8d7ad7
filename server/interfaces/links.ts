import type { PlannedJson } from '../../mappings/engine/plan.ts';
import type { ResourceJson } from '../storage/contract.ts';

/**
 * A planned resource with its `urn:key:` references and attachment URLs replaced. A reference to something that was not stored loses its
 * `reference`; where nothing else is left of it (no identifier, no display), the element goes.
 */
export function linked(planned: PlannedJson, references: ReadonlyMap<string, string>): ResourceJson {
  return link(planned, references) as ResourceJson;
}

function link(node: unknown, references: ReadonlyMap<string, string>): unknown {
  if (Array.isArray(node)) {
    const items = node.map((item) => link(item, references)).filter((item) => item !== undefined);
    return items.length === 0 ? undefined : items;
  }
  if (typeof node !== 'object' || node === null) return node;
  const copy: Record<string, unknown> = {};
  let isEmpty = true;
  for (const [name, value] of Object.entries(node)) {
    const replaced = (name === 'reference' || name === 'url') && typeof value === 'string' && value.startsWith('urn:key:') ? references.get(value) : link(value, references);
    if (replaced === undefined) continue;
    copy[name] = replaced;
    isEmpty = false;
  }
  return isEmpty ? undefined : copy;
}
