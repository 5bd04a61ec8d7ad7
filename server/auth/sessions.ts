import type { OAuthRow, OAuthRows } from './adapter.ts';
import { stillStands, type Person } from './people.ts';

/** A sign-in session of a person, as its owner and IT see it. */
export interface SessionEntry {
  readonly uid: string;
  readonly since: Date;
  /** When it ends unless it is used. */
  readonly until: Date;
  /** How the person was recognised (RFC 8176). */
  readonly methods: readonly string[];
}

interface Payload {
  readonly jti?: string;
  readonly uid?: string;
  readonly accountId?: string;
  readonly loginTs?: number;
  readonly exp?: number;
  readonly amr?: readonly string[];
  /** Of the apps of a person; see AppAccess. */
  readonly choices?: unknown;
}

const maxListed = 200;

/** The sign-in sessions of people, and how they end. */
export class Sessions {
  readonly #rows: OAuthRows;

  constructor(rows: OAuthRows) {
    this.#rows = rows;
  }

  /** The open sessions of a person, newest first. */
  async list(person: Person): Promise<SessionEntry[]> {
    const found: SessionEntry[] = [];
    for await (const { payload } of this.#sessions(person.id)) {
      const { uid, loginTs, exp, amr = [] } = payload;
      if (uid === undefined || loginTs === undefined || exp === undefined || !stillStands(person, { sinceS: loginTs, session: uid })) continue;
      found.push({ uid, since: new Date(loginTs * 1000), until: new Date(exp * 1000), methods: amr });
      if (found.length === maxListed) break;
    }
    return found.sort((a, b) => b.since.getTime() - a.since.getTime());
  }

  /** Ends one session of a person; tokens without `offline_access` that were granted in it end with it. */
  async end(personId: string, uid: string): Promise<void> {
    for await (const { row, payload } of this.#sessions(personId)) if (payload.uid === uid) await this.#rows.collection.deleteOne({ _id: row._id });
  }

  /** Ends everything that a person has open: sessions, but for the one that is named, and grants with all their tokens. */
  async endAll(personId: string, keptSession?: string): Promise<void> {
    for await (const { row, payload } of this.#of(personId)) {
      if (row.uid !== undefined && payload.uid !== keptSession) await this.#rows.collection.deleteOne({ _id: row._id });
      else if (row.uid === undefined && payload.jti !== undefined && payload.choices === undefined) await this.#rows.revokeGrant(payload.jti);
    }
  }

  async *#sessions(personId: string): AsyncGenerator<{ row: OAuthRow; payload: Payload }> {
    for await (const found of this.#of(personId)) if (found.row.uid !== undefined) yield found;
  }

  async *#of(personId: string): AsyncGenerator<{ row: OAuthRow; payload: Payload }> {
    for await (const row of this.#rows.collection.find({ person: this.#rows.key('person', personId) }, { promoteBuffers: true })) {
      const payload = await this.#rows.open<Payload>(row);
      if (payload !== undefined) yield { row, payload };
    }
  }
}
