/** A code of a code system. `display` is the system's own, where known. */
export interface TerminologyCode {
  readonly system: string;
  readonly code: string;
  readonly display?: string;
}

/**
 * What searches ask of terminology (https://hl7.org/fhir/R4/search.html#token): shipped content and what was posted.
 * All lists are bounded; a larger one is `too-costly`.
 */
export interface Terminology {
  /**
   * The codes of a value set.
   * @param url canonical URL, optionally with `|version`
   * @throws InterlockError `not-found` if the value set is not known, `not-enumerable` if its codes cannot be told, `too-costly`
   */
  codesOf(url: string): Promise<readonly TerminologyCode[]>;
  /** The code and all that it subsumes. A code or system without known hierarchy gives the code alone. @throws InterlockError `too-costly` */
  descendantsOf(system: string, code: string): Promise<readonly TerminologyCode[]>;
  /** The code and all that subsume it. @throws InterlockError `too-costly` */
  ancestorsOf(system: string, code: string): Promise<readonly TerminologyCode[]>;
}
