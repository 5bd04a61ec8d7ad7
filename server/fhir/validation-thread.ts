import { parentPort } from 'node:worker_threads';
import { checkProfiles, shippedProfile, type BindingQuestion, type Finding, type Profile } from '../../resources/profiles/index.ts';
import { validateResource } from '../../resources/validate/index.ts';
import { catalogue } from '../../resources/outcome/catalogue.ts';

/** What is asked of the thread. */
export interface ValidationJob {
  readonly resource: unknown;
  /** Canonical URLs. */
  readonly profiles: readonly string[];
  /** Profiles that users posted, by every canonical URL that they were asked for by. */
  readonly posted: readonly (readonly [canonical: string, profile: Profile])[];
  readonly budgetMs: number;
}

/** What it answers. */
export interface ValidationResult {
  readonly findings: readonly Finding[];
  readonly questions: readonly BindingQuestion[];
}

parentPort?.on('message', (job: ValidationJob) => {
  parentPort?.postMessage(validate(job));
});

function validate({ resource, profiles, posted, budgetMs }: ValidationJob): ValidationResult {
  const structure = validateResource(resource).map(({ code, expression, detail }): Finding => ({
    severity: 'error',
    code: catalogue[code].issue as Finding['code'],
    ...(expression !== undefined && { expression }),
    detail: detail ?? catalogue[code].text,
  }));
  if (!isTyped(resource)) return { findings: structure, questions: [] };
  const byCanonical = new Map(posted);
  const source = (canonical: string) => shippedProfile(canonical) ?? byCanonical.get(canonical);
  const { findings, questions } = checkProfiles(resource, profiles, { source, invariants: 'all', budgetMs, nowMs: () => performance.now() });
  return { findings: [...structure, ...findings], questions };
}

function isTyped(resource: unknown): resource is Readonly<Record<string, unknown>> {
  return typeof resource === 'object' && resource !== null && 'resourceType' in resource && typeof resource.resourceType === 'string';
}
