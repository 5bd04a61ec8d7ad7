import type { BindingQuestion, Finding, ProfileSource } from './types.ts';

/** Most findings of one validation. */
export const maxFindings = 200;
/** Coded values that terminology is asked about. */
const maxQuestions = 1_000;

/** What a validation may cost and whom it asks. */
export interface ValidationOptions {
  readonly source: ProfileSource;
  /** Which invariants are evaluated: those of profiles, or also those of HL7's own types. */
  readonly invariants: 'profiles' | 'all';
  /** Time after which it stops, in milliseconds. */
  readonly budgetMs: number;
  /** Milliseconds of a clock that only goes forward. */
  readonly nowMs: () => number;
  /** False: profiles that the content claims in `meta.profile`, and definitions of extensions, are left out. Default: true. */
  readonly claims?: boolean;
}

/** One validation: what was found and what is left of its budget. */
export class ValidationRun {
  readonly options: ValidationOptions;
  readonly findings: Finding[] = [];
  readonly questions: BindingQuestion[] = [];
  readonly #seen = new Set<string>();
  readonly #endMs: number;
  #isOver = false;

  constructor(options: ValidationOptions) {
    this.options = options;
    this.#endMs = options.nowMs() + options.budgetMs;
  }

  /** Nothing more is to be checked: too much found, or too long taken. */
  get over(): boolean {
    if (!this.#isOver && this.options.nowMs() > this.#endMs) {
      this.#isOver = true;
      this.findings.push({ severity: 'information', code: 'incomplete', detail: 'The time for one validation was used up; not everything was checked.' });
    }
    return this.#isOver || this.findings.length >= maxFindings;
  }

  /** Adds a finding once: several profiles often say the same. */
  add(finding: Finding): void {
    const key = `${finding.expression ?? ''}\n${finding.severity}\n${finding.detail}`;
    if (this.findings.length >= maxFindings || this.#seen.has(key)) return;
    this.#seen.add(key);
    this.findings.push(finding);
  }

  ask(question: BindingQuestion): void {
    const key = `${question.expression}\n${question.valueSet}`;
    if (this.questions.length >= maxQuestions || this.#seen.has(key)) return;
    this.#seen.add(key);
    this.questions.push(question);
  }

  /** A run of its own within the same budget, for finding out whether something conforms. */
  trial(): ValidationRun {
    return new ValidationRun({ ...this.options, budgetMs: Math.max(0, this.#endMs - this.options.nowMs()) });
  }
}
