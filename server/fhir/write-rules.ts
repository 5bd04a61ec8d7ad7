import { InterlockError, type ErrorIssue } from '../../resources/outcome/error.ts';
import { checkProfiles, shippedProfile, type Finding } from '../../resources/profiles/index.ts';
import type { OutcomeIssue } from '../../resources/outcome/render.ts';
import type { ResourceJson } from '../storage/contract.ts';
import { issueOf } from './findings.ts';

/** How writes are held against more than structure and required bindings. */
export interface WriteRuleOptions {
  /** Shipped profiles that a resource claims in `meta.profile`, and shipped definitions of its extensions. */
  readonly profiles: 'off' | 'warn' | 'enforce';
  /** Whether the invariants of R4's types are evaluated too. */
  readonly invariants: boolean;
}

/** What one write may take; what was not reached then is let through. */
const budgetMs = 500;

/** Rules for writes beyond those that always hold (docs/interactions/validation.md). */
export class WriteRules {
  readonly #options: WriteRuleOptions;

  constructor(options: WriteRuleOptions) {
    this.#options = options;
  }

  /** @throws InterlockError `business-rule`, `required-missing` or `code-invalid`, with all issues */
  assert(resource: ResourceJson): void {
    const { profiles, invariants } = this.#options;
    if (profiles !== 'enforce' && !invariants) return;
    const issues = this.#check(resource, profiles === 'enforce').flatMap((finding) => (finding.severity === 'error' ? [errorOf(finding)] : []));
    if (issues[0] !== undefined) throw new InterlockError(issues[0].code, { issues });
  }

  /** What a caller who asks for an OperationOutcome is told of a resource that was stored. */
  warnings(resource: ResourceJson): readonly OutcomeIssue[] {
    if (this.#options.profiles === 'off') return [];
    return this.#check(resource, true).map((finding) => issueOf({ ...finding, severity: finding.severity === 'error' ? 'warning' : finding.severity }));
  }

  #check(resource: ResourceJson, claims: boolean): readonly Finding[] {
    return checkProfiles(resource, [], { source: shippedProfile, claims, invariants: this.#options.invariants ? 'all' : 'profiles', budgetMs, nowMs: () => performance.now() }).findings;
  }
}

function errorOf({ code, expression, detail }: Finding): ErrorIssue {
  const known = code === 'required' ? 'required-missing' : code === 'code-invalid' ? 'code-invalid' : 'business-rule';
  return { code: known, detail, ...(expression !== undefined && { expression }) };
}
