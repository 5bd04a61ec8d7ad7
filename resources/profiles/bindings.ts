import { requiredCodes, requiredCodings } from '../definitions/index.ts';
import { auditEventCodings } from './audit-events.ts';
import { usCoreCodings } from './us-core.ts';
import { isObject } from './match.ts';
import type { Item } from './items.ts';
import type { BindingQuestion } from './types.ts';

/** Codes by system of a value set that is shipped; undefined if terminology has to be asked. */
export function enumerated(valueSet: string): ReadonlyMap<string, ReadonlySet<string>> | undefined {
  return requiredCodings(valueSet) ?? usCoreCodings(valueSet) ?? auditEventCodings(valueSet);
}

/** Codings of a coded value: of a code or uri the value alone, of a Quantity its unit; undefined if it is not coded or has no code. */
export function codingsOf({ value, type }: Item): BindingQuestion['codings'] | undefined {
  if (typeof value === 'string') return [{ code: value }];
  if (!isObject(value)) return undefined;
  const coding = (one: unknown) => (isObject(one) && typeof one['code'] === 'string' ? [{ code: one['code'], ...(typeof one['system'] === 'string' && { system: one['system'] }) }] : []);
  if (type === 'CodeableConcept') return Array.isArray(value['coding']) ? value['coding'].flatMap(coding) : [];
  return coding(value);
}

/** Whether one of the codings is in the value set; undefined if its codes are not known here. */
export function isBound(codings: BindingQuestion['codings'], valueSet: string): boolean | undefined {
  const systems = enumerated(valueSet);
  if (systems === undefined) return undefined;
  return codings.some(({ system, code }) => (system === undefined ? codesIn(valueSet, systems, code) : systems.get(system)?.has(code) === true));
}

/** A `code` element carries no system: any of the value set's will do. */
function codesIn(valueSet: string, systems: ReadonlyMap<string, ReadonlySet<string>>, code: string): boolean {
  return requiredCodes(valueSet)?.has(code) ?? [...systems.values()].some((codes) => codes.has(code));
}
