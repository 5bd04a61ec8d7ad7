import type { Client, KoaContextWithOIDC } from 'oidc-provider';
import type Provider from 'oidc-provider';
import { InterlockError } from '../../resources/outcome/error.ts';
import { parseScopes, type Scope } from '../access/scopes.ts';
import type { OAuthRows } from './adapter.ts';
import { choiceKey, type AppAccess } from './app-access.ts';
import { fitsContext, ownContext, ownPatients, type LaunchContext, type Launches } from './launch.ts';
import type { Person } from './people.ts';

/** What was chosen on the way through the pages of one authorization request; null: nothing, on purpose. */
export interface Picked {
  readonly patient?: string | null;
  readonly encounter?: string | null;
}

/** An authorization request as far as context and grant depend on it. */
export interface AskedContext {
  readonly scopes: readonly Scope[];
  readonly context: LaunchContext;
  /** What still has to be chosen. */
  readonly needs?: 'patient' | 'encounter';
  /** Scopes that can be granted in this context, and those that cannot. */
  readonly possible: readonly Scope[];
  readonly withheld: readonly Scope[];
}

/** SMART's scopes that are no resource scopes. */
export const plainScopes = ['openid', 'fhirUser', 'profile', 'launch', 'launch/patient', 'launch/encounter', 'offline_access', 'online_access'] as const;

export interface AuthorizationOptions {
  readonly fhirBaseUrl: string;
  readonly rows: OAuthRows;
  readonly launches: Launches;
  readonly apps: AppAccess;
  /** Clients that are this server's own pages, which nobody is asked about. */
  readonly ownClients: ReadonlySet<string>;
}

const pickedLifetimeS = 900;

/** From an authorization request to its grant: which context it is for, what was answered before, and the grant itself. */
export class Authorizations {
  readonly #options: AuthorizationOptions;

  constructor(options: AuthorizationOptions) {
    this.#options = options;
  }

  /**
   * The context of a request: that of the EHR launch, the person's own, or what was picked.
   * @throws InterlockError `forbidden` if the launch is not for this person, or the patient is not theirs
   */
  async asked(params: Readonly<Record<string, unknown>>, person: Person, picked: Picked = {}): Promise<AskedContext> {
    const { scope, launch } = params;
    const scopes = parseScopes(typeof scope === 'string' ? scope : '');
    const begun = typeof launch === 'string' ? await this.#options.launches.find(launch, person.id) : ownContext(person);
    if (begun === undefined) throw new InterlockError('forbidden');
    const patient = begun.patient ?? picked.patient;
    const own = ownPatients(person);
    if (own !== undefined && typeof patient === 'string' && !own.includes(patient)) throw new InterlockError('forbidden');
    const encounter = begun.encounter ?? picked.encounter;
    const context: LaunchContext = { ...begun, ...(typeof patient === 'string' ? { patient } : {}), ...(typeof encounter === 'string' ? { encounter } : {}) };
    const aboutPatient = scopes.some((one) => (one.kind === 'launch' && one.context !== undefined) || (one.kind === 'resource' && one.level === 'patient'));
    const aboutEncounter = scopes.some((one) => one.kind === 'launch' && one.context === 'encounter');
    const needs = aboutPatient && patient === undefined ? 'patient' : aboutEncounter && typeof patient === 'string' && encounter === undefined ? 'encounter' : undefined;
    return { scopes, context, ...(needs === undefined ? {} : { needs }), possible: scopes.filter((one) => fitsContext(one, context)), withheld: scopes.filter((one) => !fitsContext(one, context)) };
  }

  /** What was picked so far in an interaction. */
  async picked(uid: string): Promise<Picked> {
    return (await this.#options.rows.get<Picked>('Picked', uid)) ?? {};
  }

  async pick(uid: string, picked: Picked): Promise<void> {
    await this.#options.rows.put('Picked', uid, picked, pickedLifetimeS);
  }

  /** The answer to the same question that this person gave before; undefined: they have to be asked. */
  async remembered(client: Client, redirectUri: unknown, person: Person, { context, possible }: AskedContext): Promise<readonly string[] | undefined> {
    if (this.#options.ownClients.has(client.clientId)) return possible.map(({ text }) => text);
    // Anybody could pose as an app without credentials whose answers do not go to a host of its own (RFC 8252, section 8.6).
    const isKnown = client.clientAuthMethod !== 'none' || (client.applicationType !== 'native' && typeof redirectUri === 'string' && redirectUri.startsWith('https:'));
    return isKnown ? this.#options.apps.remembered(person.id, client.clientId, keyOf(person, context, possible)) : undefined;
  }

  /**
   * Makes the grant of one authorization.
   * @param granted scopes, of which those that are narrower than what was asked replace it
   * @throws InterlockError `forbidden` if the launch was used already
   */
  async grant(provider: Provider, client: { readonly clientId: string; readonly clientName: string }, person: Person, asked: AskedContext, granted: readonly string[]): Promise<string> {
    const { fhirBaseUrl, launches, apps, ownClients } = this.#options;
    const { context, scopes, possible } = asked;
    if (context.launchId !== undefined && !(await launches.use(context.launchId))) throw new InterlockError('forbidden');
    const declined = scopes.map(({ text }) => text).filter((text) => !granted.includes(text));
    const grant = new provider.Grant({ accountId: person.id, clientId: client.clientId });
    const isPlain = (scope: string): boolean => (plainScopes as readonly string[]).includes(scope);
    grant.addResourceScope(fhirBaseUrl, granted.join(' '));
    if (granted.some(isPlain)) grant.addOIDCScope(granted.filter(isPlain).join(' '));
    if (declined.length > 0) grant.rejectResourceScope(fhirBaseUrl, declined.join(' '));
    if (declined.some(isPlain)) grant.rejectOIDCScope(declined.filter(isPlain).join(' '));
    const grantId = await grant.save();
    await launches.bind(grantId, context);
    if (!ownClients.has(client.clientId)) await apps.remember({ accountId: person.id, ...client }, keyOf(person, context, possible), granted);
    return grantId;
  }

  /** oidc-provider's hook: the grant that a request rests on, if nobody has to be asked for it. */
  async existing(ctx: KoaContextWithOIDC): Promise<InstanceType<Provider['Grant']> | undefined> {
    const { oidc } = ctx;
    const grant = await this.#existing(ctx);
    const server = oidc.resourceServers?.[this.#options.fhirBaseUrl];
    if (grant === undefined || server === undefined) return grant;
    // The library grants what is both asked and granted; a scope that was narrowed counts as asked.
    const requested = oidc.params?.['scope'];
    const asked = typeof requested === 'string' ? requested.split(' ') : [];
    const granted = grant.getResourceScope(this.#options.fhirBaseUrl).split(' ');
    const scope = [...new Set([...asked, ...granted.filter((text) => asked.some((one) => text.startsWith(`${one}?`)))])].join(' ');
    oidc.params!['scope'] = scope;
    server.scope = scope;
    return grant;
  }

  async #existing(ctx: KoaContextWithOIDC): Promise<InstanceType<Provider['Grant']> | undefined> {
    const { oidc } = ctx;
    const { provider, client, params, session } = oidc;
    const answered = oidc.result?.consent?.grantId;
    if (answered !== undefined) return provider.Grant.find(answered);
    const person = oidc.account?.['person'] as Person | undefined;
    if (person === undefined || client === undefined || params === undefined || oidc.promptPending('login') || oidc.promptPending('consent')) return undefined;
    // Where the time of the sign-in matters, the library may still ask for another one.
    const isSettled = params['max_age'] === undefined || oidc.result?.login !== undefined;
    const asked = isSettled ? await this.asked(params, person).catch(refused) : undefined;
    if (asked?.needs === undefined && asked !== undefined) {
      const granted = await this.remembered(client, params['redirect_uri'], person, asked);
      if (granted !== undefined && granted.length > 0) return provider.Grant.find(await this.grant(provider, { clientId: client.clientId, clientName: client.clientName ?? client.clientId }, person, asked, granted));
    }
    // A silent request goes on with the record that is open in this session.
    const open = oidc.prompts.has('none') && params['launch'] === undefined ? session?.grantIdFor(client.clientId) : undefined;
    return open === undefined || (await this.#options.launches.ofGrant(open)) === undefined ? undefined : provider.Grant.find(open);
  }
}

// The pages say what is not possible; anything else is a failure.
function refused(cause: unknown): undefined {
  if (cause instanceof InterlockError && cause.code === 'forbidden') return undefined;
  throw cause;
}

function keyOf(person: Person, { patient }: LaunchContext, scopes: readonly Scope[]): string {
  return choiceKey(scopes.map(({ text }) => text), person.role === 'patient' ? patient : undefined);
}
