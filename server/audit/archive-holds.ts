import { createHash, randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Connection, mongo } from 'mongoose';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { Keyring } from '../kms/keyring.ts';
import { isDuplicateKey } from '../mongo/errors.ts';
import { writeFileAtomic } from '../pki/files.ts';
import type { Archive } from './archive.ts';
import type { Segment } from './archive-catalogue.ts';
import { term, Tokens } from './tokens.ts';

/** Collection of the audit database, insert-only: each hold that was placed or lifted. */
export const holdCollection = 'audit_holds';

/** What a hold keeps: all that concerns a patient, all that a user or application did, or a time. Both ends of a time are milliseconds, the second is excluded. */
export type HoldScope = { readonly patient: string } | { readonly user: string } | { readonly fromMs: number; readonly untilMs: number };

/** A legal hold in force. */
export interface Hold {
  readonly id: string;
  readonly scope: HoldScope;
  readonly reason: string;
  /** Who placed it, and when. */
  readonly by: string;
  readonly atMs: number;
}

/** Who places or lifts one, why, and when. */
export interface HoldAct {
  readonly reason: string;
  readonly by: string;
  readonly atMs: number;
}

type Act = ({ readonly kind: 'place'; readonly scope: HoldScope } | { readonly kind: 'lift' }) & HoldAct & { readonly id: string };

interface StoredAct {
  readonly _id: number;
  readonly sealed: Buffer;
  /** HMAC over number, content and the MAC before: none can be taken out or changed. */
  readonly mac: Buffer;
}

const lastFileName = 'audit-holds.last';
const attempts = 5;

/**
 * Legal holds, as the sealed list of all that was done about them. The keys directory remembers how long the list is, so that
 * one that was set back is noticed.
 */
export class Holds {
  readonly #acts: mongo.Collection<StoredAct>;
  readonly #keyring: Keyring;
  readonly #tenant: string;
  readonly #lastFile: string;
  readonly #tokens: Tokens;

  constructor(options: { readonly audit: Connection; readonly keyring: Keyring; readonly tenant: string; readonly keysDir: string }) {
    this.#acts = options.audit.db!.collection<StoredAct>(holdCollection);
    [this.#keyring, this.#tenant, this.#lastFile] = [options.keyring, options.tenant, join(options.keysDir, lastFileName)];
    this.#tokens = new Tokens(options.keyring, options.tenant);
  }

  /** Those in force, oldest first. @throws InterlockError `integrity-failure` if the list was altered or cut */
  async list(): Promise<Hold[]> {
    return (await this.#read()).holds;
  }

  async place(scope: HoldScope, act: HoldAct): Promise<Hold> {
    const id = randomUUID().slice(0, 8);
    await this.#append(() => ({ kind: 'place', id, scope, ...act }));
    return { id, scope, ...act };
  }

  /** @throws InterlockError `not-found` if none with this id is in force */
  async lift(id: string, act: HoldAct): Promise<Hold> {
    let lifted: Hold | undefined;
    await this.#append((holds) => {
      lifted = holds.find((hold) => hold.id === id);
      if (lifted === undefined) throw new InterlockError('not-found', { detail: 'There is no such hold in force.' });
      return { kind: 'lift', id, ...act };
    });
    return lifted!;
  }

  /** The first of some holds that covers something in a segment. */
  async covering(holds: readonly Hold[], segment: Segment, archive: Archive): Promise<Hold | undefined> {
    for (const hold of holds) if (await this.#covers(hold.scope, segment, archive)) return hold;
    return undefined;
  }

  async #covers(scope: HoldScope, segment: Segment, archive: Archive): Promise<boolean> {
    if ('fromMs' in scope) return scope.fromMs <= segment.lastMs && scope.untilMs > segment.oldestMs;
    const terms = 'patient' in scope ? [term.reference('Patient', scope.patient), term.agent(`Patient/${scope.patient}`)] : [term.agent(scope.user)];
    for (const one of terms) if (await archive.has(segment, this.#tokens.of(one))) return true;
    return false;
  }

  async #append(make: (holds: readonly Hold[]) => Act): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      const { holds, count, mac: before } = await this.#read();
      const n = count + 1;
      const sealed = this.#keyring.sealBlob('audit', Buffer.from(JSON.stringify(make(holds))), `hold|${n}`, this.#tenant);
      const mac = this.#mac(n, sealed, before);
      try {
        await this.#acts.insertOne({ _id: n, sealed, mac }, { writeConcern: { w: 'majority', j: true } });
        writeFileAtomic(this.#lastFile, JSON.stringify({ n, mac: mac.toString('hex') }));
        return;
      } catch (error) {
        // Somebody else was first.
        if (!isDuplicateKey(error) || attempt === attempts) throw error;
      }
    }
  }

  async #read(): Promise<{ holds: Hold[]; count: number; mac: Buffer }> {
    const holds = new Map<string, Hold>();
    const remembered = existsSync(this.#lastFile) ? (JSON.parse(readFileSync(this.#lastFile, 'utf8')) as { n: number; mac: string }) : undefined;
    let mac: Buffer = Buffer.alloc(0);
    let count = 0;
    for await (const { _id, sealed, mac: own } of this.#acts.find({}, { sort: { _id: 1 }, promoteBuffers: true, readConcern: 'majority' })) {
      count += 1;
      if (_id !== count || !Buffer.isBuffer(sealed) || !this.#mac(_id, sealed, mac).equals(own)) throw altered();
      mac = own;
      if (remembered?.n === _id && remembered.mac !== own.toString('hex')) throw altered();
      const act = JSON.parse((await this.#keyring.openBlob('audit', sealed, `hold|${_id}`, this.#tenant)).toString()) as Act;
      if (act.kind === 'place') holds.set(act.id, { id: act.id, scope: act.scope, reason: act.reason, by: act.by, atMs: act.atMs });
      else holds.delete(act.id);
    }
    if (count < (remembered?.n ?? 0)) throw altered();
    return { holds: [...holds.values()], count, mac };
  }

  #mac(n: number, sealed: Buffer, before: Buffer): Buffer {
    return this.#keyring.mac('audit-block', ['hold', String(n), sealed, before], 32, this.#tenant);
  }
}

function altered(): InterlockError {
  return new InterlockError('integrity-failure', { detail: 'The list of legal holds was altered or cut; nothing is purged.' });
}

/** Number of holds and SHA-256 over their ids: what a tombstone says of them. */
export function summaryOf(holds: readonly Hold[]): readonly [number, string] {
  return [holds.length, createHash('sha256').update(JSON.stringify(holds.map(({ id }) => id))).digest('hex')];
}
