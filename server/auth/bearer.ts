import { hash } from 'node:crypto';
import type { Connection } from 'mongoose';
import type Provider from 'oidc-provider';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { TokenFacts } from '../access/context.ts';
import type { Log } from '../observe/log.ts';
import type { OAuthRows } from './adapter.ts';
import type { AppAccess } from './app-access.ts';
import type { Clients } from './clients.ts';
import { refuse, type DpopProofs } from './dpop.ts';
import type { Launches } from './launch.ts';
import type { People } from './people.ts';
import { mayUse } from './provider.ts';
import type { Presentation } from './sender.ts';

interface Held {
  readonly facts: TokenFacts;
  readonly binding: Binding;
  readonly untilMs: number;
  /** Keys of the rows that it rests on, hex. */
  readonly rows: readonly string[];
}

/** What a token is bound to, and what its client must have bound it to. */
interface Binding {
  /** Thumbprint of a DPoP key. */
  readonly jkt?: string | undefined;
  /** Thumbprint of a TLS client certificate. */
  readonly x5t?: string | undefined;
  readonly requireDpop: boolean;
  readonly requireMtls: boolean;
}

export interface BearerOptions {
  readonly app: Connection;
  readonly provider: Provider;
  readonly rows: OAuthRows;
  readonly clients: Clients;
  readonly people: People;
  readonly launches: Launches;
  readonly apps: AppAccess;
  readonly proofs: DpopProofs;
  readonly log: Log;
  readonly nowMs: () => number;
}

const maxHeld = 20_000;
const maxAgeMs = 30_000;
const reopenMs = 1_000;
// Base64url of at least 128 bits; anything else was never issued here.
const tokenPattern = /^[A-Za-z0-9_-]{22,128}$/;

/**
 * Looks up access tokens. What was found is held for at most 30 seconds under the token's hash; a change stream drops it as
 * soon as token, grant, session, client or person change in any process. While the stream is down nothing is held.
 */
export class BearerTokens {
  readonly #options: BearerOptions;
  readonly #held = new Map<string, Held>();
  readonly #byRow = new Map<string, Set<string>>();
  #stream: ReturnType<Connection['watch']> | undefined;
  #live = false;
  #changes = 0;
  #closed = false;
  #reopen: NodeJS.Timeout | undefined;

  constructor(options: BearerOptions) {
    this.#options = options;
    this.#watch();
  }

  /**
   * What an access token stands for. One that is bound to a key or certificate counts only with that.
   *
   * @param presentation absent: as a bearer token, without certificate
   * @throws InterlockError `token-invalid`
   */
  async authenticate(token: string, presentation?: Presentation): Promise<TokenFacts> {
    const { facts, binding } = await this.#find(token);
    if (binding.jkt !== undefined || binding.x5t !== undefined || binding.requireDpop || binding.requireMtls || presentation?.scheme === 'DPoP') await this.#assertSender(binding, token, presentation);
    return facts;
  }

  async #assertSender({ jkt, x5t, requireDpop, requireMtls }: Binding, token: string, presentation: Presentation | undefined): Promise<void> {
    if ((requireDpop && jkt === undefined) || (requireMtls && x5t === undefined)) refuse('token', 'the client must bind its tokens');
    if (x5t !== undefined && presentation?.certificate !== x5t) throw new InterlockError('token-invalid', { rule: 'mtls: the certificate is not the one that the token is bound to' });
    if (jkt === undefined && presentation?.scheme !== 'DPoP') return;
    if (jkt === undefined) refuse('token', 'the token is not bound to a key');
    if (presentation?.scheme !== 'DPoP') return refuse('token', 'a bound token came as a bearer token');
    if (presentation.proof === undefined) return refuse('proof', 'no proof');
    if ((await this.#options.proofs.verify(presentation.proof, { ...presentation, token })) !== jkt) refuse('token', 'another key');
  }

  async #find(token: string): Promise<Pick<Held, 'facts' | 'binding'>> {
    const nowMs = this.#options.nowMs();
    const key = hash('sha256', token, 'base64url');
    const held = this.#held.get(key);
    if (held !== undefined && this.#live && held.untilMs > nowMs) return held;
    this.#drop(key);
    const seen = this.#changes;
    const found = tokenPattern.test(token) ? await this.#lookUp(token).catch(unavailable) : undefined;
    if (found === undefined || found.facts.expiresAtMs <= nowMs) throw new InterlockError('token-invalid');
    // What changed while it was read may be just what was read.
    if (this.#live && seen === this.#changes) this.#hold(key, { ...found, untilMs: Math.min(nowMs + maxAgeMs, found.untilMs) });
    return found;
  }

  /** Drops everything that is held. */
  forget(): void {
    this.#changes += 1;
    this.#held.clear();
    this.#byRow.clear();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#live = false;
    clearTimeout(this.#reopen);
    this.forget();
    await this.#stream?.close();
  }

  async #lookUp(value: string): Promise<Held | undefined> {
    const { provider, rows, clients, people, launches, apps } = this.#options;
    const person = await provider.AccessToken.find(value);
    const token = person ?? (await provider.ClientCredentials.find(value));
    if (token?.clientId === undefined || !(await mayUse({ clients, people }, provider, token))) return undefined;
    const client = await clients.get(token.clientId);
    if (client === undefined || token.exp === undefined) return undefined;
    const common = { clientId: client.clientId, clientName: client.name, scope: token.scope ?? '', expiresAtMs: token.exp * 1000 };
    const binding: Binding = { jkt: token.jkt, x5t: token['x5t#S256'], requireDpop: client.requireDpop, requireMtls: client.requireMtls };
    const row = (model: string, id: string): string => rows.key(model, id).toString('hex');
    if (person === undefined) return { facts: common, binding, untilMs: common.expiresAtMs, rows: [row('ClientCredentials', value)] };
    const [user, launch] = await Promise.all([people.get(person.accountId), launches.ofGrant(person.grantId)]);
    if (user === undefined) return undefined;
    await apps.used(person.accountId, client.clientId);
    const { patient, encounter } = person.extra ?? {};
    const session = person.sessionUid === undefined ? undefined : await provider.Session.findByUid(person.sessionUid);
    return {
      facts: {
        ...common,
        user: { id: user.id, username: user.username, role: user.role, ...(user.fhirUser === undefined ? {} : { fhirUser: user.fhirUser }), ...(user.proxyFor === undefined ? {} : { proxyFor: user.proxyFor }) },
        launch: {
          ...(launch?.launchId === undefined ? {} : { id: launch.launchId }),
          ...(typeof patient === 'string' ? { patient } : {}),
          ...(typeof encounter === 'string' ? { encounter } : {}),
        },
        ...(session?.loginTs === undefined || session.accountId !== user.id ? {} : { signedIn: { atMs: session.loginTs * 1000, amr: session.amr ?? [] } }),
      },
      binding,
      untilMs: Math.min(common.expiresAtMs, (session?.exp ?? token.exp) * 1000),
      rows: [row('AccessToken', value), row('Grant', person.grantId), ...(session?.jti === undefined ? [] : [row('Session', session.jti)])],
    };
  }

  #hold(key: string, held: Held): void {
    if (this.#held.size >= maxHeld) this.#drop(this.#held.keys().next().value!);
    this.#held.set(key, held);
    for (const row of held.rows) {
      const keys = this.#byRow.get(row) ?? new Set();
      this.#byRow.set(row, keys.add(key));
    }
  }

  #drop(key: string): void {
    const held = this.#held.get(key);
    if (held === undefined) return;
    this.#held.delete(key);
    for (const row of held.rows) {
      const keys = this.#byRow.get(row);
      keys?.delete(key);
      if (keys?.size === 0) this.#byRow.delete(row);
    }
  }

  #watch(): void {
    const stream = this.#options.app.watch(
      [{ $match: { 'ns.coll': { $in: ['oauth', 'people', 'clients'] }, operationType: { $in: ['update', 'replace', 'delete'] } } }, { $project: { ns: 1, documentKey: 1, operationType: 1 } }],
      { maxAwaitTimeMS: 1_000 },
    );
    this.#stream = stream;
    const fail = (): void => {
      if (stream !== this.#stream) return;
      this.#live = false;
      this.forget();
      this.#stream = undefined;
      stream.close().catch(() => undefined);
      if (this.#closed) return;
      this.#options.log.warn('token cache is off until the change stream is back', { retry: true });
      this.#reopen = setTimeout(() => this.#watch(), reopenMs);
      this.#reopen.unref();
    };
    stream.on('error', fail);
    stream.on('close', fail);
    stream.on('change', (change: { ns?: { coll?: string }; documentKey?: { _id?: unknown } }) => {
      this.#changes += 1;
      const id = change.documentKey?._id;
      const bytes = Buffer.isBuffer(id) ? id : (id as { buffer?: Uint8Array } | undefined)?.buffer;
      // A person or a client stands behind any number of tokens.
      if (change.ns?.coll !== 'oauth' || bytes === undefined) this.forget();
      else for (const key of [...(this.#byRow.get(Buffer.from(bytes).toString('hex')) ?? [])]) this.#drop(key);
    });
    // The cursor is open, and so nothing is missed any more, once its first answer is here.
    stream.once('resumeTokenChanged', () => {
      if (stream === this.#stream) this.#live = true;
    });
  }
}

function unavailable(cause: unknown): never {
  throw cause instanceof InterlockError ? cause : new InterlockError('unavailable', { cause });
}
