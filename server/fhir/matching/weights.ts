/**
 * How likely a comparison comes out so for two records of one person (m), and for records of two (u): the probabilities of
 * Fellegi and Sunter's model (A Theory for Record Linkage, 1969, https://doi.org/10.1080/01621459.1969.10501049). They are
 * estimates for a general population, not learnt from anybody's data. What is missing on either side says nothing.
 */
export const probabilities = {
  identifier: {
    same: { m: 0.97, u: 1e-8 },
    /** The same value, one of them without a system. */
    sameValue: { m: 0.5, u: 1e-4 },
    /** Another of a system that gives each person one only. */
    otherOfOne: { m: 0.02, u: 0.9 },
  },
  family: { same: { m: 0.86, u: 0.002 }, typo: { m: 0.06, u: 0.002 }, similar: { m: 0.03, u: 0.006 }, other: { m: 0.05, u: 0.99 } },
  given: { same: { m: 0.8, u: 0.012 }, typo: { m: 0.06, u: 0.006 }, similar: { m: 0.05, u: 0.02 }, initial: { m: 0.04, u: 0.06 }, other: { m: 0.05, u: 0.9 } },
  /** Both names at once: the family name stands as the given one and the other way round. */
  swapped: { same: { m: 0.01, u: 0.00002 } },
  birthDate: {
    same: { m: 0.93, u: 0.00004 },
    /** Day and month the other way round. */
    transposed: { m: 0.01, u: 0.00004 },
    /** One digit another, or two that change places. */
    typo: { m: 0.02, u: 0.0006 },
    /** The same day of the year before or after. */
    nextYear: { m: 0.01, u: 0.00008 },
    /** As far as both are given: year and month, or year. */
    sameMonth: { m: 0.9, u: 0.0012 }, sameYear: { m: 0.9, u: 0.014 },
    other: { m: 0.02, u: 0.98 },
  },
  gender: { same: { m: 0.98, u: 0.5 }, other: { m: 0.02, u: 0.5 } },
  /** Of all telecoms, the best: of a person, or of a household. */
  telecom: { same: { m: 0.6, u: 0.00005 }, other: { m: 0.4, u: 0.99995 } },
  address: { same: { m: 0.55, u: 0.0001 }, samePostalCode: { m: 0.15, u: 0.002 }, sameCity: { m: 0.15, u: 0.03 }, other: { m: 0.15, u: 0.97 } },
} as const satisfies Record<string, Record<string, { readonly m: number; readonly u: number }>>;

/** How likely two records belong to one person, before anything is compared. */
export const priorProbability = 1e-5;

/** What address and telecom may say together, in bits: people who live together share both. */
export const maxHouseholdBits = 7;

/** Systems that give each person one identifier. */
export const onePerPerson: ReadonlySet<string> = new Set(['http://hl7.org/fhir/sid/us-ssn', 'http://hl7.org/fhir/sid/us-medicare', 'http://hl7.org/fhir/sid/us-mbi']);

/**
 * Scores from which a match has a grade (https://hl7.org/fhir/R4/extension-match-grade.html). Below the last it is no match,
 * and is not given. Certain is only what agrees in an identifier, or in family name, given name and date of birth, perhaps with
 * a typing error in the family name or the date.
 */
export const gradeScores = { certain: 0.99, probable: 0.8, possible: 0.1 } as const;

/** What a match scores at most whose given names or dates of birth contradict each other, unless an identifier agrees: it may be a twin, or a parent of the same name. */
export const maxContradictedScore = 0.6;

/** How similar names are by Jaro and Winkler's measure to be the same but for a typing error, or similar. */
export const similarity = { typo: 0.93, similar: 0.86 } as const;
