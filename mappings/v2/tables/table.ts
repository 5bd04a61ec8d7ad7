/** What one code of a table becomes: a FHIR code, or a code with its display and, where it differs, its system. */
export type Target = string | readonly [code: string, display: string, system?: string];

/**
 * A code table: HL7v2 user or HL7-defined codes to FHIR codes. Codes that a table leaves out are kept as they came and
 * reported. Facts: HL7's v2-to-FHIR implementation guide (https://build.fhir.org/ig/HL7/v2-to-fhir/), CC0.
 */
export interface CodeTable {
  /** HL7 table number, four digits: its codes have the system `http://terminology.hl7.org/CodeSystem/v2-NNNN`. */
  readonly number: string;
  /** System of the targets. */
  readonly system: string;
  readonly codes: Readonly<Record<string, Target>>;
}

export interface Translation {
  readonly code: string;
  readonly display?: string;
  readonly system: string;
}

/** @returns the FHIR code for a sent one, or undefined. Case and the target's own codes (`female`) are tolerated. */
export function translate(table: CodeTable, sent: string): Translation | undefined {
  const upper = sent.trim().toUpperCase();
  const lower = sent.trim().toLowerCase();
  const target = Object.hasOwn(table.codes, upper)
    ? table.codes[upper]
    : lower.length > 2 ? Object.values(table.codes).find((one) => (typeof one === 'string' ? one : one[0]).toLowerCase() === lower) : undefined;
  if (target === undefined) return undefined;
  if (typeof target === 'string') return { code: target, system: table.system };
  const [code, display, system = table.system] = target;
  return { code, display, system };
}
