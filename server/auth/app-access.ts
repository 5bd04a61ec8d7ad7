import type { OAuthRow, OAuthRows } from './adapter.ts';

/** What a person decided about one set of scopes. */
interface Choice {
  /** Scopes in order, after the patient they were asked for where that matters: see {@link choiceKey}. */
  readonly asked: string;
  readonly granted: readonly string[];
  readonly atMs: number;
}

interface Row {
  readonly accountId: string;
  readonly clientId: string;
  readonly clientName: string;
  readonly sinceMs: number;
  readonly choices: readonly Choice[];
}

/** An app to which a person gave access. */
export interface AppAccessEntry {
  readonly accountId: string;
  readonly clientId: string;
  readonly clientName: string;
  readonly since: Date;
  /** To the minute; absent: not yet. */
  readonly lastUsed?: Date;
  /** When the person is asked again at the latest. */
  readonly until: Date;
  /** Every scope that was granted. */
  readonly scopes: readonly string[];
}

/** Different sets of scopes that are remembered of one app. */
const maxChoices = 10;
const usedEveryMs = 60_000;
const maxListed = 1_000;

/** Names a question: the same scopes, and for people who act for several patients the same one. */
export function choiceKey(scopes: readonly string[], patient: string | undefined): string {
  return [patient ?? '', ...scopes.toSorted()].join(' ');
}

/** Which apps people gave access to, what they answered, and how that ends. One sealed row per person and app. */
export class AppAccess {
  readonly #rows: OAuthRows;
  readonly #lifetimeS: number;
  readonly #nowMs: () => number;

  constructor(options: { readonly rows: OAuthRows; readonly lifetimeS: number; readonly nowMs: () => number }) {
    this.#rows = options.rows;
    this.#lifetimeS = options.lifetimeS;
    this.#nowMs = options.nowMs;
  }

  /** Keeps an answer, so that the same question need not be asked again. */
  async remember(of: { readonly accountId: string; readonly clientId: string; readonly clientName: string }, asked: string, granted: readonly string[]): Promise<void> {
    const id = idOf(of.accountId, of.clientId);
    const atMs = this.#nowMs();
    const before = await this.#rows.get<Row>('AppAccess', id);
    const choices = [{ asked, granted, atMs }, ...(before?.choices ?? []).filter((choice) => choice.asked !== asked)].slice(0, maxChoices);
    const { accountId, clientId, clientName } = of;
    await this.#rows.put('AppAccess', id, { accountId, clientId, clientName, sinceMs: before?.sinceMs ?? atMs, choices } satisfies Row, this.#lifetimeS);
  }

  /** The scopes that were granted when the same was asked before; undefined if it was not, or too long ago. */
  async remembered(accountId: string, clientId: string, asked: string): Promise<readonly string[] | undefined> {
    const row = await this.#rows.get<Row>('AppAccess', idOf(accountId, clientId));
    const choice = row?.choices.find((one) => one.asked === asked);
    return choice === undefined || choice.atMs + this.#lifetimeS * 1000 <= this.#nowMs() ? undefined : choice.granted;
  }

  /** Notes that an app used its access. */
  async used(accountId: string, clientId: string): Promise<void> {
    const now = this.#nowMs();
    await this.#rows.collection.updateOne({ _id: this.#rows.key('AppAccess', idOf(accountId, clientId)), $or: [{ usedAt: { $exists: false } }, { usedAt: { $lt: new Date(now - usedEveryMs) } }] }, { $set: { usedAt: new Date(now - (now % usedEveryMs)) } });
  }

  /** The apps of a person, or the people of an app, oldest first. */
  async list(of: { readonly accountId: string } | { readonly clientId: string }): Promise<AppAccessEntry[]> {
    const found: AppAccessEntry[] = [];
    for await (const row of this.#rows.collection.find(this.#filter(of), { promoteBuffers: true }).limit(maxListed * 10)) {
      const opened = await this.#entry(row);
      if (opened !== undefined) found.push(opened);
      if (found.length === maxListed) break;
    }
    return found.sort((a, b) => a.since.getTime() - b.since.getTime());
  }

  /**
   * Ends what an app was given: its codes and tokens are gone at once, its refresh tokens too, and the next time the person
   * is asked again.
   * @returns the people whose access for this app ended
   */
  async revoke(clientId: string, accountId?: string): Promise<string[]> {
    const people = new Set<string>();
    const where = { client: this.#rows.key('client', clientId), ...(accountId === undefined ? {} : { person: this.#rows.key('person', accountId) }) };
    for await (const row of this.#rows.collection.find(where, { promoteBuffers: true })) {
      const opened = await this.#rows.open<{ accountId: string; jti?: string }>(row);
      if (opened?.jti !== undefined) await this.#rows.revokeGrant(opened.jti);
      if (opened !== undefined) people.add(opened.accountId);
      await this.#rows.collection.deleteOne({ _id: row._id });
    }
    return [...people];
  }

  #filter(of: { readonly accountId: string } | { readonly clientId: string }): Record<string, Buffer> {
    return 'accountId' in of ? { person: this.#rows.key('person', of.accountId) } : { client: this.#rows.key('client', of.clientId) };
  }

  async #entry(row: OAuthRow): Promise<AppAccessEntry | undefined> {
    const opened = await this.#rows.open<Row>(row);
    // Grants lie under the same keys.
    if (opened?.choices === undefined) return undefined;
    const { accountId, clientId, clientName, sinceMs, choices } = opened;
    const untilMs = Math.max(...choices.map(({ atMs }) => atMs)) + this.#lifetimeS * 1000;
    return { accountId, clientId, clientName, since: new Date(sinceMs), until: new Date(untilMs), scopes: [...new Set(choices.flatMap(({ granted }) => granted))], ...(row.usedAt === undefined ? {} : { lastUsed: row.usedAt }) };
  }
}

function idOf(accountId: string, clientId: string): string {
  return `${accountId} ${clientId}`;
}
