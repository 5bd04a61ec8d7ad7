import { hash } from 'node:crypto';
import type { Element } from '../../engine/elements.ts';
import { referenceTo, type BusinessIdentifier } from '../../engine/planner.ts';
import type { V2Time } from '../datetime.ts';

/** What the later resources of a message hang on. */
export interface Links {
  readonly patientKey: string;
  /** The patient's most trusted identifier. */
  readonly patientMark: BusinessIdentifier;
  readonly encounterKey?: string;
}

export const subjectOf = (links: Links): Element => referenceTo(links.patientKey);
export const encounterOf = (links: Links): Element | undefined => (links.encounterKey === undefined ? undefined : referenceTo(links.encounterKey));

/** Business identifiers among FHIR Identifiers, in their order. */
export function marksOf(identifiers: unknown): BusinessIdentifier[] {
  if (!Array.isArray(identifiers)) return [];
  return (identifiers as Element[]).flatMap(({ system, value }) => (typeof system === 'string' && typeof value === 'string' ? [{ system, value }] : []));
}

/**
 * An identifier for things that HL7v2 does not number, such as an allergy: made of the patient and what tells the thing
 * apart, so that the same AL1 in tomorrow's update meets today's record instead of doubling it.
 */
export function derivedIdentifier(kind: string, links: Links, parts: readonly string[]): BusinessIdentifier {
  const content = JSON.stringify([links.patientMark.system, links.patientMark.value, ...parts]);
  return { system: `urn:interlock:derived:${kind}`, value: hash('sha256', content).slice(0, 32) };
}

/** Orders a period; an end before its start is dropped, since FHIR forbids it (per-1). */
export function dropReversedEnd(period: unknown, start: V2Time | undefined, end: V2Time | undefined): boolean {
  if (typeof period !== 'object' || period === null || start === undefined || end === undefined || end.epochMs >= start.epochMs) return false;
  Reflect.deleteProperty(period, 'end');
  return true;
}
