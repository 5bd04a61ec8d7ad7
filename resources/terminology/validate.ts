import { InterlockError } from '../outcome/error.ts';
import { certainMembersOf, displayIn, memberKey, memberOf, membersOf, type ExpansionBounds, type Member, type Members } from './expand.ts';
import { splitCanonical, type TerminologySource } from './source.ts';
import type { Coding, ValueSet } from './types.ts';

/** The answer of `$validate-code` (https://hl7.org/fhir/R4/valueset-operation-validate-code.html). */
export interface CodeValidation {
  readonly result: boolean;
  /** Why not; with a true result, a remark. Holds no value from the request. */
  readonly message?: string;
  readonly display?: string;
  readonly coding?: Coding;
}

export interface ValidationRequest extends ExpansionBounds {
  /** Any of these codings may be the right one. */
  readonly codings: readonly Coding[];
  /** False: codes that are for grouping only are refused. Default true. */
  readonly abstract?: boolean;
  readonly displayLanguage?: string;
}

/** Checks codings against their code systems. A coding without a system is of `url`. */
export function validateInCodeSystem(url: string | undefined, source: TerminologySource, request: ValidationRequest): CodeValidation {
  return firstRight(request.codings, (coding) => {
    const system = url ?? coding.system;
    if (system === undefined) return no('A code system is needed to tell.');
    if (coding.system !== undefined && coding.system !== system) return no('The coding is of another code system.');
    return inSystem({ ...coding, system }, source, request);
  });
}

/**
 * Checks codings against a value set. A coding without a system is right if any code of the value set is the same.
 * Where the value set cannot be enumerated, what is surely in it is.
 */
export function validateInValueSet(valueSet: ValueSet, source: TerminologySource, request: ValidationRequest): CodeValidation {
  let members: Members;
  let reason = 'The code is not in the value set.';
  try {
    members = membersOf(valueSet, source, request);
  } catch (error) {
    if (!(error instanceof InterlockError) || error.code !== 'not-enumerable') throw error;
    members = certainMembersOf(valueSet, source, request);
    reason = error.message;
  }
  return firstRight(request.codings, (coding) => {
    if (coding.code === undefined) return no('A code is needed to tell.');
    const found = memberIn(members, coding, source);
    return found === undefined ? no(reason) : accepted(found, coding, request);
  });
}

function memberIn(members: Members, { system, code }: Coding, source: TerminologySource): Member | undefined {
  if (system === undefined) return [...members.values()].find((member) => member.code === code);
  const direct = members.get(memberKey(system, code!));
  if (direct !== undefined) return direct;
  const canonical = source.codeSystem(system)?.find(code!)?.concept.code;
  return canonical === undefined ? undefined : members.get(memberKey(system, canonical));
}

function inSystem(coding: Coding & { readonly system: string }, source: TerminologySource, request: ValidationRequest): CodeValidation {
  if (coding.code === undefined) return no('A code is needed to tell.');
  const { url, version } = splitCanonical(coding.system);
  const system = source.codeSystem(url, coding.version ?? version);
  if (system?.isHeld !== true) return no('The code system, or this version of it, is not held here, so that its codes cannot be told.');
  const node = system.find(coding.code);
  if (node === undefined) return no(system.isComplete ? 'The code system does not have this code.' : 'The part of the code system that is held here does not have this code.');
  return accepted(memberOf(system, node), coding, request);
}

function accepted(member: Member, coding: Coding, { abstract, displayLanguage }: ValidationRequest): CodeValidation {
  const display = displayIn(member, displayLanguage);
  const shown = {
    ...(display === undefined ? {} : { display }),
    coding: { system: member.system, ...(member.version === undefined ? {} : { version: member.version }), code: member.code, ...(display === undefined ? {} : { display }) },
  };
  if (abstract === false && member.isAbstract) return { ...shown, ...no('The code is for grouping and not for use.') };
  if (coding.display !== undefined && display !== undefined && ![member.display, ...member.designations.map(({ value }) => value)].some((known) => sameText(known, coding.display))) {
    return { ...shown, ...no('The display is not one that the code system has for this code.') };
  }
  return { result: true, ...shown, ...(member.isInactive ? { message: 'The code is no longer for use.' } : {}) };
}

function sameText(a: string | undefined, b: string | undefined): boolean {
  const plain = (text: string | undefined) => text?.trim().replaceAll(/\s+/g, ' ').toLowerCase();
  return plain(a) === plain(b);
}

function firstRight(codings: readonly Coding[], check: (coding: Coding) => CodeValidation): CodeValidation {
  let first: CodeValidation | undefined;
  for (const coding of codings) {
    const answer = check(coding);
    if (answer.result) return answer;
    first ??= answer;
  }
  return first ?? no('A code is needed to tell.');
}

function no(message: string): CodeValidation {
  return { result: false, message };
}
