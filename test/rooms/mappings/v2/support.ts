import { readFileSync } from 'node:fs';
import type { Plan, PlannedJson, PlannedResource } from '../../../../mappings/engine/plan.ts';
import { mapV2, type V2Options } from '../../../../mappings/v2/map.ts';
import { messagesIn, parseMessage } from '../../../../mappings/v2/message.ts';

export const options: V2Options = { zone: 'America/New_York', channelId: 'adt-north' };

/** Text of a fixture under test/fixtures/hl7v2. */
export function fixture(name: string): string {
  return messagesIn(readFileSync(new URL(`../../../fixtures/hl7v2/${name}.hl7`, import.meta.url)))[0] ?? '';
}

export function planOf(text: string, more: Partial<V2Options> = {}): Plan {
  return mapV2(parseMessage(text), { ...options, ...more });
}

/** The planned resource of a type; fails when there is not exactly one. */
export function only(plan: Plan, resourceType: string): PlannedResource {
  const found = plan.resources.filter(({ resource }) => resource.resourceType === resourceType);
  if (found.length !== 1 || found[0] === undefined) throw new Error(`${found.length} planned resources of type ${resourceType}`);
  return found[0];
}

export const resource = (plan: Plan, resourceType: string): PlannedJson => only(plan, resourceType).resource;

/** Keys that a plan refers to but does not hold. */
export function dangling(plan: Plan): string[] {
  const keys = new Set(plan.resources.map(({ key }) => key));
  return [...JSON.stringify(plan.resources).matchAll(/urn:key:([\w-]+)/g)].map((match) => match[1] ?? '').filter((key) => !keys.has(key));
}
