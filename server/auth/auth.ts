import express, { type ErrorRequestHandler, type Request, type RequestHandler, type Response, type Router } from 'express';
import helmet from 'helmet';
import type { Connection } from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { TokenFacts } from '../access/context.ts';
import type { GuardServices } from '../access/guard.ts';
import { openFloodGuard, type FloodGuard } from '../audit/flood.ts';
import type { AuditTrail } from '../audit/record.ts';
import type { Keyring } from '../kms/keyring.ts';
import type { Log } from '../observe/log.ts';
import type { Pki } from '../pki/pki.ts';
import { accountClient, accountClientId, accountRouter, signedInBy } from './account-page.ts';
import { OAuthRows } from './adapter.ts';
import { AppAccess } from './app-access.ts';
import { appsClient, appsClientId, appsRouter } from './apps-page.ts';
import { anonymousActor, auditProvider, requestFacts } from './audit.ts';
import { Authorizations } from './authorization.ts';
import { BearerTokens } from './bearer.ts';
import { Clients, type ClientInfo } from './clients.ts';
import { DpopProofs } from './dpop.ts';
import { InitialTokens } from './initial-tokens.ts';
import { interactionRouter } from './interactions.ts';
import { KeySets, type KeySetOptions } from './key-sets.ts';
import { serverKeys } from './keys.ts';
import { Launches, type NewLaunch } from './launch.ts';
import { contentSecurityPolicy, problemPage } from './pages.ts';
import { createPassport, type Passport, type PassportOptions } from './passport.ts';
import { People, type Person } from './people.ts';
import { createProvider, type Lifetimes } from './provider.ts';
import { registrationRouter } from './registration.ts';
import { certificateThumbprint, type Presentation } from './sender.ts';
import { PersonalRecords } from './records.ts';
import { Sessions } from './sessions.ts';
import { smartConfiguration } from './smart-configuration.ts';
import { smartStyleDocument } from './smart-style.ts';
import { SoftwareIssuers } from './software-issuers.ts';
import { Sso } from './sso.ts';
import type { SsoSettings } from './sso-file.ts';
import { FailureThrottle } from './throttle.ts';

export interface AuthOptions {
  readonly app: Connection;
  readonly keyring: Keyring;
  readonly audit: AuditTrail;
  /** The record, as far as people see it when they choose a patient and consent. */
  readonly guard: GuardServices;
  /** URL of the authorization server, such as `https://localhost:8443/oauth2`; the router is mounted at its path. */
  readonly issuer: string;
  readonly fhirBaseUrl: string;
  readonly log: Log;
  readonly nowMs?: () => number;
  readonly lifetimes?: Partial<Lifetimes>;
  /** Public clients that are pages of this server itself, by id. */
  readonly ownClients?: ReadonlyMap<string, Pick<ClientInfo, 'name' | 'redirectUris' | 'scope'>>;
  /** Failed sign-ins and refused requests of one address before it has to wait; 60 unless told otherwise. */
  readonly maxFailuresPerMinute?: number;
  /** The hospital's own sign-on. */
  readonly sso?: SsoSettings;
  /** Where key sets of clients may be fetched from, beside public hosts. */
  readonly keySets?: Omit<KeySetOptions, 'nowMs'>;
  /** Every DPoP proof needs a nonce of the server. */
  readonly requireDpopNonce?: boolean;
  /** Apps that may wait for approval at the same time; 100 unless told otherwise. */
  readonly maxPendingClients?: number;
  /** The authority of partners' certificates, which clients may authenticate with. */
  readonly pki?: Pick<Pki, 'isRevoked'>;
  /** See {@link PassportOptions}; without it no client certificate is accepted. */
  readonly partnerOf?: PassportOptions['partnerOf'];
}

/** The authorization server. */
export interface Auth {
  /** Everything under the issuer's path. Mount it before any body parser. */
  readonly router: Router;
  readonly people: People;
  readonly clients: Clients;
  readonly initialTokens: InitialTokens;
  readonly softwareIssuers: SoftwareIssuers;
  /** Which apps people gave access to. */
  readonly apps: AppAccess;
  /** Strategies `person`, `bearer`, `dpop` and `certificate`; see `authenticate` in passport.ts. */
  readonly passport: Passport;
  /** The document at `[base]/.well-known/smart-configuration`. */
  smartConfiguration(): Readonly<Record<string, unknown>>;
  /** What an access token stands for. @throws InterlockError `token-invalid` */
  authenticateBearer(token: string, presentation?: Presentation): Promise<TokenFacts>;
  /** The person whose sign-in session, with its second factor, a browser's request belongs to. */
  signedIn(request: Request, response: Response): Promise<Person | undefined>;
  /** Prepares an EHR launch. @returns the value of the app's `launch` parameter */
  createLaunch(launch: NewLaunch): Promise<string>;
  close(): Promise<void>;
}

const defaultLifetimes: Lifetimes = { appTokenS: 900, backendTokenS: 300, idleS: 900, sessionS: 12 * 3600, refreshS: 100 * 86_400, grantS: 365 * 86_400 };

/** Sets up the authorization server: people, clients, tokens and the pages around them. */
export async function createAuth(options: AuthOptions): Promise<Auth> {
  const { app, keyring, audit, issuer, fhirBaseUrl, log, nowMs = Date.now } = options;
  const lifetimes = { ...defaultLifetimes, ...options.lifetimes };
  if (lifetimes.appTokenS > 900 || lifetimes.backendTokenS > 300) throw new InterlockError('config-invalid', { detail: 'Access tokens last at most 900 seconds, those of backend services 300.' });
  const forget = (): void => tokens.forget();
  const rows = new OAuthRows(app, keyring);
  const ownClients = new Map([...(options.ownClients ?? []), [appsClientId, appsClient(issuer)], [accountClientId, accountClient(issuer)]]);
  const keySets = new KeySets({ ...options.keySets, nowMs });
  const sessions = new Sessions(rows);
  const people = new People({ app, keyring, nowMs, origin: new URL(issuer).origin, onChange: forget, endAccess: (id, kept) => sessions.endAll(id, kept), openSessions: (person) => sessions.list(person) });
  const clients = new Clients({ app, keyring, nowMs, onChange: forget, assertKeySetUrl: (url) => keySets.assertUrl(url), own: ownClients });
  const launches = new Launches(rows, lifetimes.grantS);
  const apps = new AppAccess({ rows, lifetimeS: lifetimes.grantS, nowMs });
  const authorizations = new Authorizations({ fhirBaseUrl, rows, launches, apps, ownClients: new Set(ownClients.keys()) });
  const dpop = { nonceSecret: keyring.mac('oauth-token', ['DPoP nonce'], 32), requireNonce: options.requireDpopNonce ?? false };
  const provider = createProvider({ issuer, fhirBaseUrl, rows, clients, people, launches, authorizations, keys: await serverKeys(rows), lifetimes, keySets, dpop, ...(options.guard.breakGlass === undefined ? {} : { breakGlass: options.guard.breakGlass }), ...(options.pki === undefined ? {} : { pki: options.pki }) });
  const proofs = new DpopProofs({ rows, ...dpop, nowMs });
  const tokens = new BearerTokens({ app, provider, rows, clients, people, launches, proofs, apps, log, nowMs });
  const authenticateBearer = (token: string, presentation?: Presentation): Promise<TokenFacts> => tokens.authenticate(token, presentation);
  const initialTokens = new InitialTokens(rows);
  const softwareIssuers = new SoftwareIssuers({ app, keyring, keySets, nowMs });
  const passport = createPassport({ people, ...(options.sso === undefined ? {} : { signedOn: (request: Request) => sso!.identify(request) }), authenticateBearer, origin: new URL(fhirBaseUrl).origin, certificateOf: (socket) => certificateThumbprint(socket, options.pki), partnerOf: options.partnerOf ?? (async () => undefined) });
  const throttle = new FailureThrottle({ maxFailures: options.maxFailuresPerMinute ?? 60, windowMs: 60_000, nowMs });
  const flood = openFloodGuard({ trail: audit, nowMs });
  const sso = options.sso === undefined ? undefined : new Sso({ settings: options.sso, issuer, rows, people, audit, flood, log, nowMs });
  auditProvider({ provider, audit, flood, throttle, log, nowMs });

  const signedIn = async (request: Request, response: Response): Promise<Person | undefined> => {
    return (await signedInBy(provider, people, request, response))?.person;
  };

  const router = express.Router();
  router.use(headers(), canonicalHost(issuer));
  router.get('/smart-style.json', smartStyleDocument);
  router.use(appsRouter({ issuer, fhirBaseUrl, apps, audit, keyring, nowMs, signedIn }));
  router.use(accountRouter({ issuer, fhirBaseUrl, provider, people, sessions, rows, audit, keyring, throttle, lifetimes, nowMs }));
  if (sso !== undefined) router.use(sso.router(passport));
  router.use(interactionRouter({ issuer, rows, sso, provider, people, authorizations, records: new PersonalRecords(options.guard), passport, audit, flood, keyring, throttle, log, nowMs }));
  router.use(throttled(throttle, flood, nowMs));
  router.use(registrationRouter({ issuer, clients, initialTokens, softwareIssuers, audit, flood, throttle, maxPending: options.maxPendingClients ?? 100, nowMs }));
  router.all('/authorize', express.text({ type: 'application/x-www-form-urlencoded', limit: '64kb' }), authorizationRequest);
  router.use(provider.callback() as unknown as RequestHandler);
  router.use(unreadable);
  return {
    router, people, clients, initialTokens, softwareIssuers, apps, passport, authenticateBearer, signedIn,
    smartConfiguration: () => smartConfiguration(issuer),
    createLaunch: (launch) => launches.create(launch),
    async close() {
      await flood.close();
      await tokens.close();
    },
  };
}

function headers(): RequestHandler {
  const common = helmet({
    contentSecurityPolicy: false,
    // An app may have opened its sign-in in a window that it waits for.
    crossOriginOpenerPolicy: false,
    referrerPolicy: { policy: 'same-origin' },
    xFrameOptions: { action: 'deny' },
  });
  return (request, response, next) => {
    response.set('Content-Security-Policy', contentSecurityPolicy());
    response.set('X-Request-Id', requestFacts(request).requestId);
    response.removeHeader('Cross-Origin-Opener-Policy');
    common(request, response, next);
  };
}

// oidc-provider makes URLs, and the audiences it accepts, from the Host header, which anybody can choose.
function canonicalHost(issuer: string): RequestHandler {
  const { host } = new URL(issuer);
  return (request, _response, next) => {
    request.headers.host = host;
    next();
  };
}

/** Bodies that a parser refuses: too long, cut off, in another encoding. */
const unreadable: ErrorRequestHandler = (error: { status?: unknown }, request, response, next) => {
  if (response.headersSent) {
    next(error);
    return;
  }
  const status = error.status === 413 ? 413 : typeof error.status === 'number' && error.status < 500 ? 400 : 500;
  response.status(status).type('html').send(problemPage('This did not work', 'The request of the app cannot be read, or it is too long.', requestFacts(request).requestId));
};

function throttled(throttle: FailureThrottle, flood: FloodGuard, nowMs: () => number): RequestHandler {
  return async (request, response, next) => {
    const facts = requestFacts(request);
    const retryAfterS = request.method === 'POST' ? throttle.retryAfterS(facts.address ?? '') : undefined;
    if (retryAfterS === undefined) {
      next();
      return;
    }
    const recorded = await flood.record({ at: nowMs(), kind: 'token', interaction: 'throttled', action: 'E', outcome: '4', error: 'throttled', requestId: facts.requestId, actor: anonymousActor(facts) }).then(() => true, () => false);
    response.set('Cache-Control', 'no-store').set('Retry-After', String(retryAfterS)).status(recorded ? 429 : 503).json({ error: 'temporarily_unavailable', error_description: 'too many failed requests' });
  };
}

/**
 * Lets authorization requests come by POST (https://hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html) by turning them
 * into their GET form: the library would have the session cookie sent along with cross-site requests for it.
 */
function authorizationRequest(request: Request, _response: unknown, next: () => void): void {
  if (request.method === 'POST') {
    request.method = 'GET';
    request.originalUrl = `${request.baseUrl}/authorize?${new URLSearchParams(String(request.body ?? '')).toString()}`;
    request.url = request.originalUrl.slice(request.baseUrl.length);
  }
  next();
}
