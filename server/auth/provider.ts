import { Provider, errors, interactionPolicy, type Client, type Configuration, type KoaContextWithOIDC } from 'oidc-provider';
import type { Pki } from '../pki/pki.ts';
import { emergencyBanner, type BreakGlass } from '../access/break-glass.ts';
import { coveredScopes, type Scope } from '../access/scopes.ts';
import { createAdapter, type OAuthRows } from './adapter.ts';
import { plainScopes, type Authorizations } from './authorization.ts';
import { secretMatches, type Clients } from './clients.ts';
import type { ServerKeys } from './keys.ts';
import { contextParameterNames, contextParameters, type Launches } from './launch.ts';
import { dpopAlgorithms } from './dpop.ts';
import type { KeySets } from './key-sets.ts';
import { sendError, sendLogout, sendLoggedOut } from './pages.ts';
import { stillStands, type People } from './people.ts';
import { letPublicClientsRefresh } from './public-refresh.ts';
import { followKeySets, mtlsFeature } from './sender.ts';

/** Lifetimes in seconds. */
export interface Lifetimes {
  /** Access tokens of people's apps; at most 900. */
  readonly appTokenS: number;
  /** Access tokens of backend services; at most 300. */
  readonly backendTokenS: number;
  /** A sign-in session without interactive activity. */
  readonly idleS: number;
  /** A sign-in session, whatever happens. */
  readonly sessionS: number;
  /** Refresh tokens with `offline_access`, from their last use. */
  readonly refreshS: number;
  /** A consent, and so everything that rests on it. */
  readonly grantS: number;
}

export interface ProviderOptions {
  readonly issuer: string;
  readonly fhirBaseUrl: string;
  readonly rows: OAuthRows;
  readonly clients: Clients;
  readonly people: People;
  readonly launches: Launches;
  readonly authorizations: Authorizations;
  readonly keys: ServerKeys;
  readonly lifetimes: Lifetimes;
  readonly keySets: KeySets;
  readonly breakGlass?: Pick<BreakGlass, 'of' | 'untilMs'>;
  readonly dpop: { readonly nonceSecret: Buffer; readonly requireNonce: boolean };
  /** Whose client certificates count; see {@link mtlsFeature}. */
  readonly pki?: Pick<Pki, 'isRevoked'>;
}

const maxAssertionS = 300;
const clockToleranceS = 10;

/** Sets up oidc-provider as a SMART App Launch 2.2 authorization server. */
export function createProvider(options: ProviderOptions): Provider {
  const { issuer, rows, clients, keys, lifetimes } = options;
  const cookie = { httpOnly: true, secure: true, signed: true, sameSite: 'lax' } as const;
  const configuration: Configuration = {
    adapter: createAdapter(rows, clients),
    jwks: { keys: [...keys.signing] },
    routes: { authorization: '/authorize', token: '/token', jwks: '/jwks', introspection: '/introspect', revocation: '/revoke', end_session: '/logout' },
    cookies: {
      keys: [...keys.cookies],
      // The prefixes make browsers refuse these names over plain HTTP or from a subdomain.
      names: { session: '__Host-interlock-session', interaction: '__Secure-interlock-interaction', resume: '__Secure-interlock-resume' },
      long: cookie,
      short: cookie,
    },
    responseTypes: ['code'],
    clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'tls_client_auth', 'self_signed_tls_client_auth', 'none'],
    enabledJWA: { clientAuthSigningAlgValues: ['RS384', 'ES384'], idTokenSigningAlgValues: ['RS256'], requestObjectSigningAlgValues: ['RS256'], dPoPSigningAlgValues: [...dpopAlgorithms] },
    // Key sets of clients come by KeySets; nothing else is fetched.
    fetch: () => Promise.reject(new Error('nothing is fetched')),
    pkce: { required: () => true },
    allowOmittingSingleRegisteredRedirectUri: false,
    rotateRefreshToken: true,
    conformIdTokenClaims: false,
    clockTolerance: clockToleranceS,
    scopes: [...plainScopes],
    claims: { openid: ['sub'], fhirUser: ['fhirUser'], profile: ['profile'] },
    features: {
      devInteractions: { enabled: false },
      dPoP: { enabled: true, nonceSecret: options.dpop.nonceSecret, requireNonce: () => options.dpop.requireNonce },
      mTLS: mtlsFeature(options.pki),
      pushedAuthorizationRequests: { enabled: false },
      userinfo: { enabled: false },
      clientCredentials: { enabled: true },
      revocation: {
        enabled: true,
        allowedPolicy: async (_ctx, client, token) => {
          if (token.clientId !== client.clientId) throw new errors.InvalidRequest('the token belongs to another client');
          return true;
        },
      },
      introspection: { enabled: true, allowedPolicy: async (_ctx, client, token) => (client.clientAuthMethod !== 'none' || token.clientId === client.clientId) && (await mayUse(options, provider, token)) },
      rpInitiatedLogout: { enabled: true, logoutSource: sendLogout, postLogoutSuccessSource: sendLoggedOut },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => options.fhirBaseUrl,
        useGrantedResource: () => true,
        getResourceServerInfo: async (ctx, resource, client) => {
          if (resource !== options.fhirBaseUrl) throw new errors.InvalidTarget();
          return { scope: await availableScopes(options, ctx, client), audience: options.fhirBaseUrl, accessTokenFormat: 'opaque' };
        },
      },
    },
    extraParams: {
      // Runs for every authorization request, absent or not.
      aud: async (ctx, aud, client) => {
        if (aud?.replace(/\/$/, '') !== options.fhirBaseUrl) throw new errors.InvalidRequest('aud must be the FHIR base URL of this server');
        const params = ctx.oidc.params!;
        // The library drops `offline_access` unless the app asks for a prompt that SMART does not know of.
        const asked = new URL(ctx.originalUrl, issuer).searchParams.get('scope') ?? params['scope'];
        params['scope'] = texts(await allowed(options, client, asked, (scope) => scope.kind !== 'resource' || scope.level !== 'system'));
        if (params['scope'] === '') throw new errors.InvalidScope('none of the requested scopes may be granted', '');
      },
      launch: null,
    },
    interactions: { policy: policy(), url: (_ctx, interaction) => `${new URL(issuer).pathname}/interaction/${interaction.uid}` },
    loadExistingGrant: (ctx) => options.authorizations.existing(ctx),
    findAccount: async (ctx, id, token) => {
      const person = await options.people.get(id);
      if (person === undefined || person.disabled) return undefined;
      const { session, entities } = ctx.oidc;
      // A session without its second factor is none.
      if (token === undefined && session?.accountId === id && (session.amr?.includes('mfa') !== true || !stillStands(person, { sinceS: session.loginTs, session: session.uid }))) return undefined;
      if (token !== undefined && !(await sessionHolds(provider, token))) return undefined;
      if (entities.Grant !== undefined && !stillStands(person, { sinceS: entities.Grant.iat })) return undefined;
      const fhirUser = person.fhirUser === undefined ? undefined : `${options.fhirBaseUrl}/${person.fhirUser}`;
      return { accountId: id, person, claims: () => ({ sub: id, ...(fhirUser === undefined ? {} : { fhirUser, profile: fhirUser }) }) };
    },
    issueRefreshToken: (_ctx, client, source) => client.grantTypeAllowed('refresh_token') && (source.scopes.has('offline_access') || source.scopes.has('online_access')),
    // Checked by mayUse and findAccount instead: the library would also end a token when the same app is launched again.
    expiresWithSession: () => false,
    extraTokenClaims: async (_ctx, token) => {
      if (token.kind !== 'AccessToken') return undefined;
      const account = await options.people.get(token.accountId);
      const { scope = '' } = token;
      return {
        ...contextParameters(await options.launches.ofGrant(token.grantId), scope, `${issuer}/smart-style.json`),
        ...(account?.fhirUser !== undefined && scope.split(' ').includes('fhirUser') ? { fhirUser: `${options.fhirBaseUrl}/${account.fhirUser}` } : {}),
      };
    },
    assertJwtClientAuthClaimsAndHeader: (_ctx, claims, header, client) => {
      const exp = claims['exp'];
      if (typeof exp !== 'number' || exp > Date.now() / 1000 + maxAssertionS + clockToleranceS) throw new errors.InvalidClientAuth('exp must be at most five minutes ahead');
      if (claims['sub'] !== claims['iss']) throw new errors.InvalidClientAuth('iss and sub must be the client_id');
      if (header['jku'] !== undefined && header['jku'] !== client.jwksUri) throw new errors.InvalidClientAuth('jku is not the registered key set URL');
      if (['jwk', 'x5u', 'x5c'].some((name) => header[name] !== undefined)) throw new errors.InvalidClientAuth('an assertion does not bring its own key');
    },
    // No cookies or other ambient credentials count here, so any page may call for a public client.
    clientBasedCORS: (_ctx, origin, client) => client.clientAuthMethod === 'none' && origin !== 'null',
    ttl: {
      // What is issued in an emergency ends with it, so that the app learns of the end.
      AccessToken: (_ctx, token) => Math.min(lifetimes.appTokenS, Math.max(1, Math.floor(((options.breakGlass?.untilMs(token.accountId, token.clientId!) ?? Infinity) - Date.now()) / 1000))),
      ClientCredentials: lifetimes.backendTokenS,
      AuthorizationCode: 60,
      IdToken: lifetimes.appTokenS,
      Interaction: 900,
      // Without refresh tokens that outlast it, a grant is of no use after the session.
      Grant: (_ctx, grant) => (grant.getResourceScope(options.fhirBaseUrl).split(' ').includes('offline_access') ? lifetimes.grantS : lifetimes.sessionS),
      RefreshToken: (_ctx, token) => (token.scopes.has('offline_access') ? lifetimes.refreshS : lifetimes.sessionS),
      Session: (ctx, session) => {
        const nowS = Math.floor(Date.now() / 1000);
        const absolute = session.loginTs === undefined ? lifetimes.sessionS : session.loginTs + lifetimes.sessionS - nowS;
        // A silent request is not the activity of a person.
        const idle = ctx.oidc.params?.['prompt'] === 'none' && session.exp !== undefined ? session.exp - nowS : lifetimes.idleS;
        return Math.max(1, Math.min(absolute, idle));
      },
    },
    renderError: sendError,
  };
  const provider = new Provider(issuer, configuration);
  followKeySets(provider, options.keySets);
  letPublicClientsRefresh(provider);
  // SMART wants the launch context beside the access token, where the library puts nothing.
  provider.use(async (ctx, next) => {
    // Lifetimes are decided without waiting.
    if (ctx.path.endsWith('/token')) await options.breakGlass?.of('', '');
    await next();
    const { oidc } = ctx as unknown as Partial<KoaContextWithOIDC>;
    const token = oidc?.route === 'token' && ctx.status === 200 ? oidc.entities.AccessToken : undefined;
    const broken = token === undefined ? [] : ((await options.breakGlass?.of(token.accountId, token.clientId!)) ?? []);
    if (broken.length > 0) ctx.body = { ...(ctx.body as object), emergency_access: broken.map(({ patient, untilMs }) => ({ patient, until: new Date(untilMs).toISOString() })), emergency_banner: emergencyBanner };
    const { extra } = token ?? {};
    if (extra !== undefined) ctx.body = { ...(ctx.body as object), ...Object.fromEntries(contextParameterNames.flatMap((name) => (extra[name] === undefined ? [] : [[name, extra[name]]]))) };
  });
  const prototype = provider.Client.prototype;
  prototype.compareClientSecret = function compareClientSecret(this: Client, presented: string) {
    return this.clientSecret !== undefined && secretMatches(this.clientSecret, presented);
  };
  // The library would let native clients vary the port of a loopback address.
  prototype.redirectUriAllowed = function redirectUriAllowed(this: Client, uri: string) {
    return this.redirectUris?.includes(uri) === true;
  };
  return provider;
}

function policy(): ReturnType<typeof interactionPolicy.base> {
  const prompts = interactionPolicy.base();
  // A session whose person was disabled in the meantime.
  prompts.get('login')!.checks.add(
    new interactionPolicy.Check('account_unavailable', 'sign in again', 'login_required', ({ oidc }) => oidc.session?.accountId !== undefined && oidc.account === undefined),
  );
  return prompts;
}

function texts(scopes: readonly Scope[]): string {
  return scopes.map((scope) => scope.text).join(' ');
}

async function allowed(options: ProviderOptions, client: Client, requested: unknown, filter: (scope: Scope) => boolean): Promise<Scope[]> {
  const registered = (await options.clients.get(client.clientId))?.scope ?? '';
  return typeof requested === 'string' ? coveredScopes(requested, registered).filter(filter) : [];
}

/** The scopes that this request may be granted: a subset of what is asked for, or of the grant it rests on. */
async function availableScopes(options: ProviderOptions, ctx: KoaContextWithOIDC, client: Client): Promise<string> {
  const { route, params, entities } = ctx.oidc;
  if (route !== 'token') return texts(await allowed(options, client, params?.['scope'], () => true));
  // What the client may no longer have is gone at its next refresh.
  if (entities.Grant !== undefined) return texts(await allowed(options, client, entities.Grant.getResourceScope(options.fhirBaseUrl), () => true));
  const own = texts(await allowed(options, client, params?.['scope'], (scope) => scope.kind === 'resource' && scope.level === 'system'));
  if (own === '') throw new errors.InvalidScope('none of the requested scopes may be granted', '');
  return own;
}

/** A token, as far as its standing depends on it. */
export interface TokenStanding {
  readonly clientId?: string | undefined;
  readonly accountId?: string | undefined;
  readonly grantId?: string | undefined;
  readonly sessionUid?: string | undefined;
  readonly scope?: string | undefined;
}

/** True unless client or person are disabled, the grant is revoked, or the session is over that the token depends on. */
export async function mayUse(options: Pick<ProviderOptions, 'clients' | 'people'>, provider: Provider, token: TokenStanding): Promise<boolean> {
  if (token.clientId === undefined || (await options.clients.get(token.clientId)) === undefined) return false;
  if (token.accountId === undefined) return token.grantId === undefined;
  const [person, grant, session] = await Promise.all([options.people.get(token.accountId), token.grantId === undefined ? undefined : provider.Grant.find(token.grantId), sessionHolds(provider, token)]);
  return person?.disabled === false && grant?.accountId === token.accountId && grant.clientId === token.clientId && stillStands(person, { sinceS: grant.iat }) && session;
}

/** Without `offline_access`, a token lives no longer than the session it was granted in. */
async function sessionHolds(provider: Provider, token: TokenStanding): Promise<boolean> {
  if (token.scope?.split(' ').includes('offline_access') === true) return true;
  if (token.sessionUid === undefined) return false;
  const session = await provider.Session.findByUid(token.sessionUid);
  return session?.accountId === token.accountId;
}
