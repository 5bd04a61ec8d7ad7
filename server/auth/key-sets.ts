import { lookup as resolve } from 'node:dns';
import http from 'node:http';
import https from 'node:https';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import { getCACertificates } from 'node:tls';
import type { JWK } from 'oidc-provider';
import { z } from 'zod';
import { InterlockError } from '../../resources/outcome/error.ts';

export interface KeySetOptions {
  /** Names or addresses within the own network that key sets may be fetched from. */
  readonly allowedHosts?: readonly string[];
  /** Also `http:`, from the loopback only. */
  readonly allowInsecureLoopback?: boolean;
  /** Authorities beside the public ones, PEM. */
  readonly ca?: readonly string[];
  readonly nowMs: () => number;
}

interface Entry {
  keys: readonly JWK[];
  /** Counts what was fetched. */
  version: number;
  untilMs: number;
  triedAtMs: number;
  pending?: Promise<void>;
}

/** The part of oidc-provider's key store of a client that is made to follow a {@link KeySets}. */
export interface KeyStoreLike {
  clear(): void;
  add(key: JWK): void;
  selectForVerify(wanted: object): unknown[];
  fresh(): boolean;
  refresh(): Promise<void>;
}

const maxSizeBytes = 64 * 1024;
const timeoutMs = 3_000;
const minLifetimeMs = 60_000;
const maxLifetimeMs = 3_600_000;
/** At most one fetch of a set in this time, whatever key ids strangers name. */
const minIntervalMs = 10_000;
const maxSets = 1_000;
const maxFetches = 20;

const keySchema = z.looseObject({ kty: z.string().max(10), kid: z.string().max(256).optional() });
const setSchema = z.object({ keys: z.array(keySchema).max(50) });

// What is no host of the public internet (https://www.iana.org/assignments/iana-ipv4-special-registry, …ipv6…).
const special = new BlockList();
for (const [net, bits] of [['0.0.0.0', 8], ['10.0.0.0', 8], ['100.64.0.0', 10], ['127.0.0.0', 8], ['169.254.0.0', 16], ['172.16.0.0', 12], ['192.0.0.0', 24], ['192.0.2.0', 24], ['192.88.99.0', 24], ['192.168.0.0', 16], ['198.18.0.0', 15], ['198.51.100.0', 24], ['203.0.113.0', 24], ['224.0.0.0', 3]] as const) special.addSubnet(net, bits, 'ipv4');
for (const [net, bits] of [['::', 96], ['64:ff9b::', 96], ['64:ff9b:1::', 48], ['100::', 64], ['2001::', 23], ['2001:db8::', 32], ['2002::', 16], ['3fff::', 20], ['5f00::', 16], ['fc00::', 7], ['fe80::', 10], ['fec0::', 10], ['ff00::', 8]] as const) special.addSubnet(net, bits, 'ipv6');

const isPublic = (address: string): boolean => !special.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');

/**
 * Key sets that are published at a URL. They come by https from public addresses only, unless a host is allowed by name, without
 * redirects, within 3 seconds and 64 kB. They are held for as long as `Cache-Control` says, one minute at least, one hour at
 * most; then, keys that are gone count no more.
 */
export class KeySets {
  readonly #options: KeySetOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #lookup: LookupFunction;
  #fetches = 0;

  constructor(options: KeySetOptions) {
    this.#options = options;
    this.#lookup = (hostname, given, callback) => {
      // The addresses that are checked are those that are connected to.
      resolve(hostname, { family: given.family ?? 0, all: true }, (error, addresses) => {
        if (error !== null) {
          callback(error, []);
          return;
        }
        const usable = this.#isAllowed(hostname) ? addresses : addresses.filter(({ address }) => isPublic(address));
        if (usable.length === 0) callback(Object.assign(new Error('no public address'), { code: 'EACCES' }), []);
        else if (given.all === true) callback(null, usable);
        else callback(null, usable[0]!.address, usable[0]!.family);
      });
    };
  }

  /** @throws InterlockError `business-rule` if no key set would be fetched from there */
  assertUrl(text: string): void {
    if (this.#url(text) === undefined) throw new InterlockError('business-rule', { expression: 'jwksUri', detail: 'A key set URL is https, with a public host, without user or fragment.' });
  }

  /** The keys that count now; undefined if they have to be fetched. */
  held(url: string): readonly JWK[] | undefined {
    const entry = this.#entries.get(url);
    return entry !== undefined && entry.untilMs > this.#options.nowMs() ? entry.keys : undefined;
  }

  /** True if the set was fetched, or that was tried, so lately that it is not tried again. */
  isRecent(url: string): boolean {
    const entry = this.#entries.get(url);
    return entry !== undefined && entry.pending === undefined && entry.triedAtMs + minIntervalMs > this.#options.nowMs();
  }

  /** Fetches a set, unless that was done lately. @throws InterlockError `unavailable` if it cannot be had */
  async refresh(url: string): Promise<void> {
    if (this.isRecent(url)) return;
    const entry = this.#entries.get(url) ?? { keys: [], version: 0, untilMs: 0, triedAtMs: 0 };
    if (!this.#entries.has(url)) {
      if (this.#entries.size >= maxSets) this.#entries.delete(this.#entries.keys().next().value!);
      this.#entries.set(url, entry);
    }
    entry.pending ??= this.#fetch(url, entry).finally(() => {
      delete entry.pending;
    });
    await entry.pending;
  }

  /** The keys of a set, fetched if need be, also when none has this id. @throws InterlockError `unavailable` */
  async keysFor(url: string, kid: string | undefined): Promise<readonly JWK[]> {
    const held = this.held(url);
    if (held === undefined || (kid !== undefined && !held.some((key) => key.kid === kid))) await this.refresh(url);
    return this.held(url) ?? [];
  }

  /** Makes oidc-provider's key store of a client follow this: the library fetches a set anew only for keys that it does not know, so that one withdrawn would count forever. */
  follow(store: KeyStoreLike, url: string): void {
    const select = store.selectForVerify.bind(store);
    let version = -1;
    Object.assign(store, {
      selectForVerify: (wanted: object) => {
        const held = this.held(url);
        const current = this.#entries.get(url)?.version ?? -1;
        if (held === undefined) return [];
        if (current !== version) {
          store.clear();
          for (const key of held) store.add({ ...key });
          version = current;
        }
        return select(wanted);
      },
      fresh: () => this.isRecent(url),
      refresh: () => this.refresh(url),
    });
  }

  async #fetch(url: string, entry: Entry): Promise<void> {
    entry.triedAtMs = this.#options.nowMs();
    const target = this.#url(url);
    if (target === undefined || this.#fetches >= maxFetches) throw new InterlockError('unavailable');
    this.#fetches += 1;
    try {
      const { body, lifetimeMs } = await this.#get(target);
      const { keys } = setSchema.parse(JSON.parse(body.toString()));
      // Secrets and private keys have no place in a published set.
      Object.assign(entry, { keys: keys.filter((key) => key.kty !== 'oct' && key['d'] === undefined), version: entry.version + 1, untilMs: entry.triedAtMs + lifetimeMs });
    } catch (cause) {
      throw new InterlockError('unavailable', { detail: 'The key set of the client could not be fetched.', cause });
    } finally {
      this.#fetches -= 1;
    }
  }

  #get(url: URL): Promise<{ body: Buffer; lifetimeMs: number }> {
    return new Promise((done, fail) => {
      const { ca } = this.#options;
      const options = { agent: false, lookup: this.#lookup, signal: AbortSignal.timeout(timeoutMs), headers: { accept: 'application/json' } } as const;
      const answered = (response: http.IncomingMessage): void => {
        const chunks: Buffer[] = [];
        let size = 0;
        const refuse = (reason: string): void => void response.destroy(new Error(reason));
        response.on('error', fail);
        if (response.statusCode !== 200) refuse('not 200');
        response.on('data', (chunk: Buffer) => {
          size += chunk.length;
          if (size > maxSizeBytes) refuse('too large');
          else chunks.push(chunk);
        });
        response.on('end', () => done({ body: Buffer.concat(chunks), lifetimeMs: lifetimeOf(response.headers['cache-control']) }));
      };
      const request = url.protocol === 'http:' ? http.get(url, options, answered) : https.get(url, { ...options, minVersion: 'TLSv1.2', ...(ca === undefined ? {} : { ca: [...getCACertificates('default'), ...ca] }) }, answered);
      request.on('error', fail);
    });
  }

  #url(text: string): URL | undefined {
    const url = URL.parse(text);
    if (url === null || text.length > 500 || url.username !== '' || url.password !== '' || text.includes('#')) return undefined;
    const host = url.hostname.replace(/^\[|\]$/g, '').toLowerCase();
    const isLoopback = host === 'localhost' || host === '::1' || /^127\./.test(host);
    if (url.protocol === 'http:') return this.#options.allowInsecureLoopback === true && isLoopback && this.#isAllowed(host) ? url : undefined;
    if (url.protocol !== 'https:') return undefined;
    if (this.#isAllowed(host)) return url;
    return isIP(host) === 0 ? (isLocalName(host) ? undefined : url) : isPublic(host) ? url : undefined;
  }

  #isAllowed(host: string): boolean {
    const { allowedHosts = [], allowInsecureLoopback } = this.#options;
    return allowedHosts.includes(host) || (allowInsecureLoopback === true && (host === 'localhost' || host === '127.0.0.1' || host === '::1'));
  }
}

/** Names that lead to this machine or network wherever they are looked up. */
function isLocalName(host: string): boolean {
  return !host.includes('.') || /(?:^|\.)(?:localhost|local|internal|localdomain|home\.arpa)\.?$/.test(host);
}

function lifetimeOf(cacheControl: string | undefined): number {
  const seconds = /(?:^|[\s,])max-age=(\d{1,9})(?:$|[\s,])/i.exec(cacheControl ?? '')?.[1];
  const wanted = seconds === undefined || /no-(?:store|cache)/i.test(cacheControl ?? '') ? 0 : Number(seconds) * 1000;
  return Math.min(maxLifetimeMs, Math.max(minLifetimeMs, wanted));
}
