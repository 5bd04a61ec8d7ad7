import { compartmentParams } from '../../resources/definitions/index.ts';
import { InterlockError } from '../../resources/outcome/error.ts';
import { patientsOf } from '../../resources/search-values/index.ts';
import type { Criterion, RuleSubject } from '../search/criteria.ts';
import type { ResourceJson, StoredVersion } from '../storage/contract.ts';
import type { Standing } from './consent-affiliations.ts';
import { decideConsent } from './consent-decide.ts';
import type { ConsentRequest, ConsentSubject, Doing } from './consent-match.ts';
import type { ConsentRegistry } from './consent-registry.ts';
import type { AccessContext, Permission, ReachLimit } from './context.ts';

/** Patients whose resources of a type are closed, and those of whom each resource has to be looked at. */
interface Split {
  readonly closed: readonly string[];
  readonly open: readonly string[];
}

/**
 * What patients' consents leave of a caller's reach. Whom a resource concerns decides: of several patients each must
 * permit. Nobody is kept from the own record; the audit trail tells of accesses whatever consents say.
 */
export class ConsentLimit implements ReachLimit {
  readonly rule = 'consent';
  readonly #registry: ConsentRegistry;
  readonly #context: AccessContext;
  readonly #own: string | undefined;
  readonly #splits = new Map<string, Split>();
  #revision = -1;
  #nowMs = 0;
  #standing: Standing | undefined;

  constructor(registry: ConsentRegistry, context: AccessContext) {
    this.#registry = registry;
    this.#context = context;
    const { kind, fhirUser } = context.actor;
    this.#own = kind === 'user' && fhirUser?.startsWith('Patient/') === true ? fhirUser.slice('Patient/'.length) : undefined;
  }

  /** To be awaited before anything is decided; undefined if there is nothing to wait for. @throws InterlockError `unavailable` */
  ready(): Promise<void> | undefined {
    const waiting = this.#registry.ready();
    if (waiting === undefined && this.#begin()) return undefined;
    return this.#prepare(waiting);
  }

  criterionFor(type: string, permissions: readonly Permission[]): Criterion | undefined {
    if (this.#registry.isOpen || type === 'AuditEvent') return undefined;
    if (this.#standing === undefined) throw new InterlockError('forbidden', { rule: 'consent: not decided yet' });
    const doing = new Set(permissions.flatMap((permission): readonly Doing[] => doings[permission]));
    const of = [...doing].flatMap((one) => this.#criterion(type, one) ?? []);
    return of.length === 0 ? undefined : of.length === 1 ? of[0] : { op: 'all', of };
  }

  /** True if the consents of all patients concerned permit it. @param doing `release`: that it is sent to others */
  permits(subject: RuleSubject, doing: Doing): boolean {
    const { type, id, patients, content } = subject;
    const nested = type === 'Bundle' ? entriesOf(content?.resource) : [];
    return patients.every((patient) => this.#decide(patient, { type, id, ...(content === undefined ? {} : { resource: content.resource }) }, doing) === 'permit')
      && nested.every((one) => this.permits({ type: one.resourceType, id: one.id ?? '', patients: patientsOf(one, this.#registry.facts.values), content: { resource: one } }, doing));
  }

  /** Those of some versions that may be sent to the caller or on the caller's behalf: what exports, subscriptions and outbound channels ask. */
  async releasable<T extends StoredVersion>(versions: readonly T[]): Promise<T[]> {
    await this.ready();
    if (this.#registry.isOpen) return [...versions];
    return versions.filter((version) => !version.deleted && this.permits({ type: version.type, id: version.id, patients: version.patients(), content: { resource: version.resource() } }, 'release'));
  }

  async #prepare(waiting: Promise<void> | undefined): Promise<void> {
    await waiting;
    if (this.#begin()) return;
    const { fhirUser } = this.#context.actor;
    if (fhirUser !== undefined) this.#standing = await this.#registry.standingOf(fhirUser);
    this.#begin();
  }

  /** Takes what is known now as the ground of what follows. */
  #begin(): boolean {
    const { fhirUser } = this.#context.actor;
    const nowMs = this.#registry.nowMs;
    if (this.#revision !== this.#registry.revision || this.#nowMs !== nowMs) this.#splits.clear();
    this.#revision = this.#registry.revision;
    this.#nowMs = nowMs;
    const standing = this.#registry.isOpen ? { certain: new Set<string>(), possible: new Set<string>() } : this.#registry.knownStanding(fhirUser);
    if (standing !== undefined) this.#standing = standing;
    return standing !== undefined;
  }

  #criterion(type: string, doing: Doing): Criterion | undefined {
    const rule: Criterion = { op: 'rule', name: 'consent', holds: (subject) => this.permits(subject, doing) };
    if (type === 'Bundle') return doing === 'read' ? rule : undefined;
    if (type !== 'Patient' && compartmentParams('Patient', type).length === 0) return undefined;
    // Where nothing is shared without a consent, no list of patients says whom the rest concerns.
    if (this.#registry.otherwise === 'deny' && doing === 'read') return rule;
    const { closed, open } = this.#split(type, doing);
    const without = (ids: readonly string[]): Criterion => ({ op: 'not', of: { op: 'compartment', type: 'Patient', ids } });
    const of: Criterion[] = [];
    if (closed.length > 0) of.push(without(closed));
    // Outside these patients' compartments tokens tell; only what is inside is opened.
    if (open.length > 0) of.push({ op: 'any', of: [without(open), rule] });
    return of.length === 0 ? undefined : { op: 'all', of };
  }

  #split(type: string, doing: Doing): Split {
    const key = `${type}|${doing}`;
    let split = this.#splits.get(key);
    if (split === undefined) {
      const [closed, open]: string[][] = [[], []];
      for (const patient of this.#registry.byPatient.keys()) {
        const verdict = this.#decide(patient, { type }, doing);
        if (verdict !== 'permit') (verdict === 'deny' ? closed! : open!).push(patient);
      }
      this.#splits.set(key, (split = { closed: closed!, open: open! }));
    }
    return split;
  }

  #decide(patient: string, subject: ConsentSubject, doing: Doing): 'permit' | 'deny' | 'open' {
    if (patient === this.#own || this.#context.brokenGlass?.some((one) => one.patient === patient && one.untilMs > this.#nowMs) === true) return 'permit';
    const { byPatient, otherwise, facts } = this.#registry;
    const request: ConsentRequest = {
      doing, nowMs: this.#nowMs, purposes: this.#context.purposeOfUse, certain: this.#standing?.certain ?? new Set(), possible: this.#standing?.possible ?? new Set(),
      isClient: this.#context.actor.kind !== 'user',
    };
    return decideConsent({ rules: byPatient.get(patient) ?? [], request, subject, facts, otherwise });
  }
}

/** What permissions come to: who changes something learns of it, and so must be permitted to see it. */
const doings: Readonly<Record<Permission, readonly Doing[]>> = { r: ['read'], s: ['read'], c: ['collect'], u: ['read', 'correct'], d: ['read', 'correct'] };

function entriesOf(bundle: { readonly [element: string]: unknown } | undefined): ResourceJson[] {
  const entries = bundle?.['entry'];
  return !Array.isArray(entries) ? [] : (entries as { readonly resource?: ResourceJson }[]).flatMap(({ resource }) => (resource?.resourceType === undefined ? [] : [resource]));
}
