import { randomBytes } from 'node:crypto';
import { parseScopes, type Scope } from '../access/scopes.ts';
import type { OAuthRows } from './adapter.ts';
import type { Person } from './people.ts';

/** What an app is launched upon (https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html#launch-context-arrives-with-your-access_token). */
export interface LaunchContext {
  /** Id of the EHR launch it came from. */
  readonly launchId?: string;
  /** Logical ids. */
  readonly patient?: string;
  readonly encounter?: string;
  /** Whether the app must show whose record it is: true unless the launching EHR already does. */
  readonly needPatientBanner: boolean;
}

/** An EHR launch prepared for one signed-in person. */
export interface NewLaunch {
  readonly userId: string;
  readonly patient?: string;
  readonly encounter?: string;
  readonly needPatientBanner?: boolean;
}

const launchLifetimeS = 300;

/** Launch contexts, kept beside the grant they belong to, so that they survive refreshes. */
export class Launches {
  readonly #rows: OAuthRows;
  readonly #grantLifetimeS: number;

  constructor(rows: OAuthRows, grantLifetimeS: number) {
    this.#rows = rows;
    this.#grantLifetimeS = grantLifetimeS;
  }

  /** Prepares an EHR launch. @returns the value of the `launch` parameter: good for five minutes and one grant */
  async create(launch: NewLaunch): Promise<string> {
    const id = randomBytes(24).toString('base64url');
    await this.#rows.put('Launch', id, launch, launchLifetimeS);
    return id;
  }

  /** The EHR launch that a `launch` parameter names, for this person only. */
  async find(id: string, userId: string): Promise<LaunchContext | undefined> {
    const launch = await this.#rows.get<NewLaunch>('Launch', id);
    if (launch?.userId !== userId) return undefined;
    const { patient, encounter, needPatientBanner = true } = launch;
    return { launchId: id, ...(patient === undefined ? {} : { patient }), ...(encounter === undefined ? {} : { encounter }), needPatientBanner };
  }

  /** Marks an EHR launch as used. @returns false if it already was */
  async use(id: string): Promise<boolean> {
    return (await this.#rows.take('Launch', id)) !== undefined;
  }

  async bind(grantId: string, context: LaunchContext): Promise<void> {
    await this.#rows.put('LaunchContext', grantId, context, this.#grantLifetimeS);
  }

  async ofGrant(grantId: string): Promise<LaunchContext | undefined> {
    return this.#rows.get<LaunchContext>('LaunchContext', grantId);
  }
}

/** The context that a person brings along: their own record, if they are a patient. */
export function ownContext(person: Person): LaunchContext {
  if (person.role !== 'patient' || person.fhirUser?.startsWith('Patient/') !== true) return { needPatientBanner: true };
  return { patient: person.fhirUser.slice('Patient/'.length), needPatientBanner: false };
}

/** True if a scope can be granted in this context: patient-level scopes need a patient, and so on. */
export function fitsContext(scope: Scope, context: LaunchContext): boolean {
  if (scope.kind === 'resource') return scope.level === 'user' || (scope.level === 'patient' && context.patient !== undefined);
  if (scope.kind !== 'launch') return true;
  if (scope.context === undefined) return context.launchId !== undefined;
  return context[scope.context] !== undefined;
}

/** The context parameters of a token response or introspection, as far as the granted scopes ask for them. */
export function contextParameters(context: LaunchContext | undefined, scope: string): Record<string, string | boolean> {
  const scopes = parseScopes(scope);
  const asksFor = (name: 'patient' | 'encounter'): boolean =>
    scopes.some((granted) => (granted.kind === 'launch' && (granted.context ?? name) === name) || (name === 'patient' && granted.kind === 'resource' && granted.level === 'patient'));
  const { patient, encounter, needPatientBanner = true } = context ?? {};
  return {
    ...(patient !== undefined && asksFor('patient') ? { patient, need_patient_banner: needPatientBanner } : {}),
    ...(encounter !== undefined && asksFor('encounter') ? { encounter } : {}),
  };
}
