import { randomBytes } from 'node:crypto';
import { InterlockError } from '../../resources/outcome/error.ts';
import { isResourceType } from '../../resources/definitions/index.ts';
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
  /** What the app is to do first, in words that both sides know. */
  readonly intent?: string;
  readonly fhirContext?: readonly FhirContextItem[];
}

/** Further resources in context (https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html#fhircontext-exp). */
export interface FhirContextItem {
  /** Relative: `Type/id`. */
  readonly reference?: string;
  readonly canonical?: string;
  readonly identifier?: Readonly<Record<string, unknown>>;
  readonly type?: string;
  /** Absolute URI, or `launch`, which is meant if there is none. */
  readonly role?: string;
}

/** An EHR launch prepared for one signed-in person. */
export interface NewLaunch {
  readonly userId: string;
  readonly patient?: string;
  readonly encounter?: string;
  readonly needPatientBanner?: boolean;
  readonly intent?: string;
  readonly fhirContext?: readonly FhirContextItem[];
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

  /**
   * Prepares an EHR launch.
   * @returns the value of the `launch` parameter: good for five minutes and one grant
   * @throws InterlockError `business-rule`
   */
  async create(launch: NewLaunch): Promise<string> {
    assertLaunch(launch);
    const id = randomBytes(24).toString('base64url');
    await this.#rows.put('Launch', id, launch, launchLifetimeS);
    return id;
  }

  /** The EHR launch that a `launch` parameter names, for this person only. */
  async find(id: string, userId: string): Promise<LaunchContext | undefined> {
    const launch = await this.#rows.get<NewLaunch>('Launch', id);
    if (launch?.userId !== userId) return undefined;
    const { userId: _, needPatientBanner = true, ...rest } = launch;
    return { launchId: id, needPatientBanner, ...rest };
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

/** The patients whose records a patient or their proxy may open; undefined for everybody else, whom their role and scopes limit. */
export function ownPatients({ role, fhirUser, proxyFor = [] }: Person): readonly string[] | undefined {
  if (role !== 'patient') return undefined;
  return [...(fhirUser?.startsWith('Patient/') === true ? [fhirUser.slice('Patient/'.length)] : []), ...proxyFor];
}

/** The context that a person brings along: the one record that they may open, if they are a patient. */
export function ownContext(person: Person): LaunchContext {
  const [patient, ...more] = ownPatients(person) ?? [];
  return patient === undefined || more.length > 0 ? { needPatientBanner: true } : { patient, needPatientBanner: false };
}

/** True if a scope can be granted in this context: patient-level scopes need a patient, and so on. */
export function fitsContext(scope: Scope, context: LaunchContext): boolean {
  if (scope.kind === 'resource') return scope.level === 'user' || (scope.level === 'patient' && context.patient !== undefined);
  if (scope.kind !== 'launch') return true;
  if (scope.context === undefined) return context.launchId !== undefined;
  return context[scope.context] !== undefined;
}

/** The names of the context parameters of a token response. */
export const contextParameterNames = ['patient', 'encounter', 'need_patient_banner', 'smart_style_url', 'fhirContext', 'intent'] as const;

/**
 * The context parameters of a token response or introspection, as far as the granted scopes ask for them.
 * @param styleUrl where the colours and fonts of this server are published
 */
export function contextParameters(context: LaunchContext | undefined, scope: string, styleUrl: string): Readonly<Record<string, unknown>> {
  const scopes = parseScopes(scope);
  const asksFor = (name: 'patient' | 'encounter'): boolean =>
    scopes.some((granted) => (granted.kind === 'launch' && (granted.context ?? name) === name) || (name === 'patient' && granted.kind === 'resource' && granted.level === 'patient'));
  const { patient, encounter, needPatientBanner = true, intent, fhirContext } = context ?? {};
  const isFromEhr = scopes.some((granted) => granted.kind === 'launch' && granted.context === undefined);
  return {
    ...(patient !== undefined && asksFor('patient') ? { patient, need_patient_banner: needPatientBanner } : {}),
    ...(encounter !== undefined && asksFor('encounter') ? { encounter } : {}),
    ...(scopes.some((granted) => granted.kind === 'launch') ? { smart_style_url: styleUrl } : {}),
    ...(isFromEhr && fhirContext !== undefined ? { fhirContext } : {}),
    ...(isFromEhr && intent !== undefined ? { intent } : {}),
  };
}

const idPattern = /^[A-Za-z0-9.-]{1,64}$/;
const maxContextItems = 20;

function assertLaunch({ patient, encounter, intent, fhirContext = [] }: NewLaunch): void {
  const refuse = (expression: string, detail: string): never => {
    throw new InterlockError('business-rule', { expression, detail });
  };
  for (const [name, id] of Object.entries({ patient, encounter })) if (id !== undefined && !idPattern.test(id)) refuse(name, 'A logical id has up to 64 letters, digits, - or .');
  if (encounter !== undefined && patient === undefined) refuse('encounter', 'An encounter comes with its patient.');
  if (intent !== undefined && !/^[\x21-\x7e]{1,100}$/.test(intent)) refuse('intent', 'An intent has 1 to 100 printable characters and no spaces.');
  if (fhirContext.length > maxContextItems || !fhirContext.every(isContextItem)) refuse('fhirContext', 'Each item has a relative reference, a canonical or an identifier; Patient and Encounter only with a role of their own.');
}

function isContextItem({ reference, canonical, identifier, type, role }: FhirContextItem): boolean {
  if (reference === undefined && canonical === undefined && identifier === undefined) return false;
  const [referred, id, ...more] = reference?.split('/') ?? [];
  if (reference !== undefined && (referred === undefined || !isResourceType(referred) || id === undefined || !idPattern.test(id) || more.length > 0)) return false;
  if (canonical !== undefined && !/^https?:\/\/\S{1,500}$/.test(canonical)) return false;
  if (identifier !== undefined && (typeof identifier !== 'object' || JSON.stringify(identifier).length > 1_000)) return false;
  if (type !== undefined && !isResourceType(type)) return false;
  if (role !== undefined && (role === '' || role.length > 500)) return false;
  const isPlain = role === undefined || role === 'launch';
  return !isPlain || ![referred, type].some((named) => named === 'Patient' || named === 'Encounter');
}
