import type { Connection } from 'mongoose';
import type { Keyring } from '../kms/keyring.ts';
import { openColumns } from './column-seal.ts';
import type { DocumentCodec, StoredDocument } from './document.ts';
import { findBatch, majority } from './driver.ts';
import type { Preparer } from './prepare.ts';
import { OpenVersion } from './version.ts';

export interface ReindexParts {
  readonly app: Connection;
  readonly codec: DocumentCodec;
  readonly keyring: Keyring;
  readonly preparer: Preparer;
}

/** What one batch came to. */
export interface ReindexedBatch {
  /** Order of the last document that was looked at. */
  readonly cursor: bigint;
  /** Documents looked at; fewer than asked for: there are no more below the bound. */
  readonly seen: number;
  /** Documents that are found otherwise now. */
  readonly changed: number;
  /** Documents that could not be opened, or whose values could not be worked out in time. */
  readonly failed: number;
}

/**
 * Gives current versions the tokens and columns that a write would give them now. Nothing else of a version changes: not its
 * number, time, order or audit entry. Each document is exchanged together with its MAC, and only if it is still the one that
 * was read, so that a write in between wins.
 * @param types type codes
 * @param after order after which documents are looked at, in order of recording
 * @param below order below which no write is in flight
 */
export async function reindexBatch({ app, codec, keyring, preparer }: ReindexParts, types: readonly number[], after: bigint, below: bigint, limit: number): Promise<ReindexedBatch> {
  const documents = await findBatch<StoredDocument>(app, 'resources', { filter: { t: { $in: types }, del: false, o: { $gt: after, $lt: below } }, sort: { o: 1 }, limit });
  const updates: { updateOne: { filter: object; update: object } }[] = [];
  let failed = 0;
  for (const document of documents) {
    try {
      await codec.loadKeys([document]);
      const version = new OpenVersion(codec.open(document), document);
      const { tokens, columns } = preparer.index(version.resource(), version.id);
      if (sameTokens(tokens, document.x) && (await sameColumns(keyring, columns, document.s))) continue;
      const { x, s, mac } = codec.reindexed(document, tokens, columns);
      updates.push({ updateOne: { filter: { _id: document._id, o: document.o, mac: document.mac }, update: { $set: { x, s, mac } } } });
    } catch {
      failed += 1;
    }
  }
  const { modifiedCount } = updates.length === 0 ? { modifiedCount: 0 } : await app.db!.collection('resources').bulkWrite(updates, { ordered: false, writeConcern: majority });
  return { cursor: documents.at(-1)?.o ?? after, seen: documents.length, changed: modifiedCount, failed };
}

function sameTokens(a: readonly Buffer[], b: readonly Buffer[]): boolean {
  return a.length === b.length && a.every((token, index) => token.equals(b[index]!));
}

async function sameColumns(keyring: Keyring, a: Buffer, b: Buffer): Promise<boolean> {
  const [one, other] = await openColumns(keyring, [a, b]);
  return one!.equals(other!);
}
