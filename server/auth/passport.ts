import { TLSSocket } from 'node:tls';
import type { Request, Response } from 'express';
import passport from 'passport';
import { Strategy as CustomStrategy } from 'passport-custom';
import { Strategy as BearerStrategy } from 'passport-http-bearer';
import { Strategy as LocalStrategy } from 'passport-local';
import type { TokenFacts } from '../access/context.ts';
import type { People, SignIn } from './people.ts';
import type { Proof } from './second-factors.ts';
import type { SsoIdentity } from './sso.ts';
import type { Presentation } from './sender.ts';

/** Passport as it is set up here. */
export type Passport = InstanceType<typeof passport.Passport>;

/** The ways in, by the name of their strategy. */
export interface Identities {
  /** User name, password and second factor from a form. */
  readonly person: SignIn;
  /** A passkey alone. */
  readonly passkey: SignIn;
  /** The hospital's own sign-on. */
  readonly sso: SsoIdentity;
  /** `Authorization: Bearer …`. */
  readonly bearer: TokenFacts;
  /** `Authorization: DPoP …`, with its proof. */
  readonly dpop: TokenFacts;
  /** The name of the partner whose client certificate the TLS connection showed. */
  readonly certificate: string;
}

export interface PassportOptions {
  readonly people: People;
  /** Who the hospital's sign-on says it is; undefined if there is none. */
  readonly signedOn?: (request: Request) => Promise<SsoIdentity>;
  readonly authenticateBearer: (token: string, presentation: Presentation) => Promise<TokenFacts>;
  /** Of the URLs under which clients reach this server. */
  readonly origin: string;
  /** Thumbprint of the client certificate of this connection. */
  readonly certificateOf: (socket: unknown) => string | undefined;
  /** The partner whose client certificate this connection showed; undefined if there is none, it is revoked, or the agreement is over. */
  readonly partnerOf: (socket: TLSSocket) => Promise<string | undefined>;
}

// Passport calls whoever a strategy finds a user; here it is a sign-in, a token or a partner.
type Done = (error: unknown, identity?: Express.User | false) => void;

/** Passport with a strategy per way in; no sessions, these are oidc-provider's. */
export function createPassport(options: PassportOptions): Passport {
  const answer = (work: Promise<unknown>, done: Done): void => {
    work.then((identity) => done(null, (identity as Express.User | undefined) ?? false), done);
  };
  const instance = new passport.Passport();
  instance.use(
    'person',
    new LocalStrategy({ session: false, passReqToCallback: true }, (request: Request, username: string, password: string, done: Done) => {
      answer(options.people.signIn(username, password, proofOf(request)), done);
    }),
  );
  const presented = (request: Request, scheme: Presentation['scheme']): Presentation => {
    const [proof, certificate] = [request.headers['dpop'], options.certificateOf(request.socket)];
    return { scheme, method: request.method, url: `${options.origin}${request.originalUrl}`, ...(typeof proof === 'string' ? { proof } : {}), ...(certificate === undefined ? {} : { certificate }) };
  };
  instance.use('bearer', new BearerStrategy({ passReqToCallback: true }, (request: Request, token: string, done: Done) => answer(options.authenticateBearer(token, presented(request, 'Bearer')), done)));
  instance.use(
    'dpop',
    new CustomStrategy((request, done: Done) => {
      const token = dpopToken(request);
      if (token === undefined) done(null, false);
      else answer(options.authenticateBearer(token, presented(request, 'DPoP')), done);
    }),
  );
  instance.use('passkey', new CustomStrategy((request, done: Done) => {
    const proof = proofOf(request);
    if (typeof proof === 'string') done(null, false);
    else answer(options.people.signInByPasskey(proof), done);
  }));
  instance.use('sso', new CustomStrategy((request, done: Done) => {
    if (options.signedOn === undefined) done(null, false);
    else answer(options.signedOn(request), done);
  }));
  instance.use(
    'certificate',
    new CustomStrategy((request, done: Done) => {
      const { socket } = request;
      if (socket instanceof TLSSocket) answer(options.partnerOf(socket), done);
      else done(null, false);
    }),
  );
  return instance;
}

/** The token of `Authorization: DPoP …`. */
export function dpopToken(request: Request): string | undefined {
  return /^DPoP +([^\s]+)$/i.exec(request.headers.authorization ?? '')?.[1];
}

/** The second factor as the sign-in found it in the form. */
function proofOf(request: { readonly body?: unknown }): Proof {
  return (request.body as { proof?: Proof } | undefined)?.proof ?? '';
}

/** Runs one strategy. @returns undefined if the request does not carry what it looks for, or that is not accepted */
export function authenticate<Way extends keyof Identities>(instance: Passport, way: Way, request: Request, response: Response): Promise<Identities[Way] | undefined> {
  return new Promise((resolve, reject) => {
    const finish = (error: unknown, identity: unknown): void => {
      if (error !== null && error !== undefined) reject(error instanceof Error ? error : new Error('a sign-in strategy failed'));
      else resolve(identity === false || identity === undefined ? undefined : (identity as Identities[Way]));
    };
    const handler = instance.authenticate(way, { session: false }, finish) as (request: Request, response: Response, next: (error: unknown) => void) => void;
    handler(request, response, (error) => finish(error ?? new Error('a sign-in strategy did not answer'), false));
  });
}
