import type { Connection } from 'mongoose';
import type { Keyring } from '../kms/keyring.ts';
import { bounded } from './windows.ts';

interface Row {
  readonly _id: string;
  readonly known: readonly string[];
  readonly last: Date;
}

const writeConcern = { w: 'majority', j: true } as const;
const maxKnown = 100;

/** What each person has used before: devices and networks, as keyed tokens. */
export class Familiar {
  readonly #app: Connection;
  readonly #keyring: Keyring;
  readonly #held = new Map<string, Promise<Set<string>>>();

  constructor(app: Connection, keyring: Keyring) {
    this.#app = app;
    this.#keyring = keyring;
  }

  /** Remembers what a person uses. @param onNew called before, if the person has used other things but not this: who has used nothing yet has nothing to differ from */
  async meet(person: string, sort: 'new-device' | 'new-network', value: string, atMs: number, onNew: () => Promise<void>): Promise<void> {
    const id = this.#token('familiar', sort, person);
    const token = this.#token('value', sort, person, value);
    const known = await this.#load(id);
    if (known.has(token)) return;
    // Should the server stop in between, it finds out anew.
    if (known.size > 0) await onNew();
    known.add(token);
    await this.#rows.updateOne({ _id: id }, { $push: { known: { $each: [token], $slice: -maxKnown } }, $set: { last: new Date(atMs) } }, { upsert: true, writeConcern });
  }

  get #rows() {
    return this.#app.collection<Row>('alert_familiar');
  }

  #load(id: string): Promise<Set<string>> {
    const loading = this.#held.get(id) ?? this.#rows.findOne({ _id: id }).then((row) => new Set(row?.known));
    bounded(this.#held, id, loading);
    loading.catch(() => this.#held.delete(id));
    return loading;
  }

  #token(...parts: readonly string[]): string {
    return this.#keyring.mac('alert-token', parts, 12).toString('hex');
  }
}

/** A browser or app without its version: an update does not make it another device. */
export function deviceOf(userAgent: string): string {
  return userAgent.replaceAll(/\d[\d._]*/g, '').replaceAll(/\s+/g, ' ').trim();
}
