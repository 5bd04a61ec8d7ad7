import { normalizeCode } from '../../resources/search-values/index.ts';
import type { Keyring } from '../kms/keyring.ts';
import type { AuditRecord } from './record.ts';

/** Bytes of a blind token. */
export const tokenBytes = 12;

const maxCachedTokens = 50_000;

/** Interactions that most entries have: a token would select nothing, so there is none. */
export const denseInteractions: ReadonlySet<string> = new Set(['rest|read', 'rest|search-type']);

/** Actions that have a token; reads and executions are too frequent for one. */
export const selectiveActions: ReadonlySet<string> = new Set(['C', 'U', 'D']);

/**
 * What an entry can be looked up by. Values that single out a person, a resource or a request stand alone; those of which
 * there are few (outcome, action, kind, interaction, address) only together with their day, so that a token's frequency
 * tells no more than how busy a day was.
 */
export const term = {
  request: (id: string) => `request|${id}`,
  message: (id: string) => `message|${id}`,
  /** Searched as a token too, so without case. */
  agent: (id: string) => `agent|${normalizeCode(id)}`,
  reference: (type: string, id: string) => `reference|${type}/${id}`,
  /** The same, of `Type/id`. */
  entity: (reference: string) => `reference|${reference}`,
  outcome: (code: string) => `outcome|${code}`,
  action: (code: string) => `action|${code}`,
  kind: (kind: string) => `kind|${kind}`,
  interaction: (kind: string, interaction: string) => `interaction|${kind}|${interaction}`,
  address: (address: string) => `address|${address}`,
  channel: (id: string) => `channel|${id}`,
  onDay: (other: string, day: string) => `${other}|${day}`,
} as const;

/** Day (UTC) of a time, `YYYY-MM-DD`. */
export function dayOf(atMs: number): string {
  const number = Math.floor(atMs / 86_400_000);
  // Nearly all entries are of the day of the one before.
  if (number !== latestDay.number) latestDay = { number, text: new Date(atMs).toISOString().slice(0, 10) };
  return latestDay.text;
}

let latestDay = { number: 0, text: '1970-01-01' };

/** Every term of a record, without repetition. */
export function termsOf(record: AuditRecord): string[] {
  const terms = new Set<string>();
  const { actor } = record;
  terms.add(term.request(record.requestId));
  for (const agent of [actor.id, actor.clientId, actor.fhirUser, actor.onBehalfOf, record.client?.id]) {
    if (agent !== undefined) terms.add(term.agent(agent));
  }
  for (const patient of record.patients ?? []) terms.add(term.reference('Patient', patient));
  for (const entity of record.entities ?? []) {
    terms.add(term.reference(entity.type, entity.id));
    for (const patient of entity.patients ?? []) terms.add(term.reference('Patient', patient));
  }
  if (record.channel !== undefined) terms.add(term.message(record.channel.messageId));

  const day = dayOf(record.at);
  if (actor.address !== undefined) terms.add(term.onDay(term.address(actor.address), day));
  if (record.channel !== undefined) terms.add(term.onDay(term.channel(record.channel.id), day));
  if (record.outcome !== '0') terms.add(term.onDay(term.outcome(record.outcome), day));
  if (selectiveActions.has(record.action)) terms.add(term.onDay(term.action(record.action), day));
  if (record.kind !== 'rest') terms.add(term.onDay(term.kind(record.kind), day));
  if (!denseInteractions.has(`${record.kind}|${record.interaction}`)) terms.add(term.onDay(term.interaction(record.kind, record.interaction), day));
  return [...terms];
}

/** Turns terms into blind tokens; keeps the recent ones, since users, clients and days come again and again. */
export class Tokens {
  readonly #keyring: Keyring;
  readonly #tenant: string;
  readonly #cache = new Map<string, Buffer>();

  constructor(keyring: Keyring, tenant: string) {
    this.#keyring = keyring;
    this.#tenant = tenant;
  }

  of(one: string): Buffer {
    let token = this.#cache.get(one);
    if (token !== undefined) return token;
    // As it is: a copy would be cut from a pool of 8 kB, all of which the cache would then keep.
    token = this.#compute(one);
    if (this.#cache.size >= maxCachedTokens) {
      // Oldest first: Map keeps the order of insertion.
      for (const key of this.#cache.keys()) {
        this.#cache.delete(key);
        if (this.#cache.size <= maxCachedTokens / 2) break;
      }
    }
    this.#cache.set(one, token);
    return token;
  }

  #compute(one: string): Buffer {
    return this.#keyring.mac('audit-token', [one], tokenBytes, this.#tenant);
  }

  /** Tokens of a record, sorted, so that their order says nothing about which is which. */
  ofRecord(record: AuditRecord): Buffer[] {
    // A request's id never comes again.
    const own = term.request(record.requestId);
    return termsOf(record).map((one) => (one === own ? this.#compute(one) : this.of(one))).sort((a, b) => Buffer.compare(a, b));
  }
}
