import type { Connection, mongo } from 'mongoose';

/** One index, or, without keys, a collection that must exist before transactions use it. */
export interface IndexRow {
  readonly database: 'app' | 'audit';
  readonly collection: string;
  readonly keys?: Readonly<Record<string, 1 | -1 | 'hashed'>>;
  readonly options?: Omit<mongo.IndexDescription, 'key'>;
  /** Which question it answers, or which rule it enforces. */
  readonly why: string;
}

/** Every collection and index of both databases. */
export const indexes: readonly IndexRow[] = [
  { database: 'app', collection: 'keys', why: 'Wrapped data keys, read by id and listed at start.' },
  { database: 'app', collection: 'inbox_sequence', why: 'One counter: the order in which messages were recorded.' },
  { database: 'app', collection: 'channels', why: 'Which channels are paused, by id.' },
  { database: 'app', collection: 'inbox', keys: { dedup: 1 }, options: { unique: true, partialFilterExpression: { dedup: { $exists: true } } }, why: 'The same message again gets its stored acknowledgement; of two at once only one gets in.' },
  { database: 'app', collection: 'inbox', keys: { control: 1 }, options: { sparse: true }, why: 'A control id that is used again with another body is flagged.' },
  { database: 'app', collection: 'inbox', keys: { refusal: 1 }, options: { unique: true, partialFilterExpression: { refusal: { $exists: true } } }, why: 'The same refused message again only counts.' },
  { database: 'app', collection: 'inbox', keys: { channel: 1, seq: 1 }, options: { partialFilterExpression: { live: true } }, why: 'The router looks at the oldest live messages first; also the backlog and its age.' },
  { database: 'app', collection: 'inbox', keys: { keys: 1, seq: 1 }, options: { unique: true, partialFilterExpression: { live: true } }, why: 'No two messages have the same place in the order of a key; which keys live messages tie together.' },
  { database: 'app', collection: 'inbox', keys: { channel: 1, state: 1, seq: 1 }, why: 'Status by state and recent rate; dead letters oldest first.' },
  { database: 'app', collection: 'inbox', keys: { storedAt: 1 }, options: { sparse: true }, why: 'Purge removes the content of what was stored long ago.' },
  { database: 'app', collection: 'partners', keys: { fingerprints: 1 }, options: { unique: true, partialFilterExpression: { fingerprints: { $exists: true } } }, why: 'A certificate belongs to one partner; looked up for every message.' },
  { database: 'app', collection: 'oauth', keys: { grant: 1 }, options: { sparse: true }, why: 'Tokens and codes of a grant, to revoke them together.' },
  { database: 'app', collection: 'oauth', keys: { uid: 1 }, options: { sparse: true }, why: 'The sign-in session that a token depends on.' },
  { database: 'app', collection: 'oauth', keys: { person: 1 }, options: { sparse: true }, why: "A person's apps and grants, to list and revoke them." },
  { database: 'app', collection: 'oauth', keys: { client: 1 }, options: { sparse: true }, why: "An app's grants, to list and revoke them." },
  { database: 'app', collection: 'oauth', keys: { expiresAt: 1 }, options: { expireAfterSeconds: 0 }, why: 'Expired tokens, codes, sessions and replay records go away.' },
  { database: 'app', collection: 'people', keys: { name: 1 }, options: { unique: true }, why: 'A user name belongs to one person; sign-in.' },
  { database: 'app', collection: 'break_glass', keys: { expiresAt: 1 }, why: 'Emergency accesses that hold now, and reviews in the order of their end.' },
  { database: 'app', collection: 'alerts', keys: { at: 1 }, why: 'What somebody has to be told of, oldest first.' },
  { database: 'app', collection: 'alerts', keys: { state: 1, at: -1 }, why: 'Alerts that nobody has acknowledged, newest first.' },
  { database: 'app', collection: 'alerts', keys: { untold: 1 }, options: { partialFilterExpression: { untold: true } }, why: 'Alerts whose notices a crash prevented.' },
  { database: 'app', collection: 'alerts', keys: { purgeAt: 1 }, options: { expireAfterSeconds: 0, partialFilterExpression: { purgeAt: { $exists: true } } }, why: 'Acknowledged alerts go away after six years.' },
  { database: 'app', collection: 'alert_familiar', keys: { last: 1 }, options: { expireAfterSeconds: 400 * 86_400 }, why: 'Devices and networks of people who no longer sign in are forgotten.' },
  { database: 'app', collection: 'atna_positions', keys: { repository: 1 }, why: 'How far a repository has each stream of the audit trail.' },
  { database: 'app', collection: 'deliveries', keys: { target: 1, state: 1, _id: 1 }, why: 'Notices that wait for a target, in their order.' },
  { database: 'app', collection: 'deliveries', keys: { purgeAt: 1 }, options: { expireAfterSeconds: 0, partialFilterExpression: { purgeAt: { $exists: true } } }, why: 'Notices that were given up go away.' },
  { database: 'app', collection: 'breaches', why: 'The breach register, read by id and as a whole.' },
  { database: 'app', collection: 'clients', why: 'Registered OAuth clients, read by id.' },
  { database: 'app', collection: 'software_issuers', why: 'Whose software statements are believed, read by id.' },
  { database: 'app', collection: 'resources', keys: { x: 1, o: 1 }, why: 'Search: resources that have a blind token, in order of recording.' },
  { database: 'app', collection: 'resources', keys: { t: 1, o: 1 }, why: 'A type as a whole: its history, and searches that no token narrows.' },
  { database: 'app', collection: 'resources', keys: { w: 1, o: 1 }, why: 'Writes of an ended epoch, to find those without an audit entry.' },
  { database: 'app', collection: 'versions', keys: { t: 1, o: 1 }, why: 'Past versions of a type, newest first; those of one resource are a range of ids.' },
  { database: 'app', collection: 'versions', keys: { w: 1, o: 1 }, why: 'As in resources: a write may be superseded before it is swept.' },
  { database: 'app', collection: 'file_chunks', why: 'Sealed chunks of large files; those of one file are a range of ids.' },
  { database: 'app', collection: 'files', keys: { at: 1 }, options: { partialFilterExpression: { state: { $exists: true } } }, why: 'Uploads that ended without a version, to be swept.' },
  { database: 'app', collection: 'search_jobs', why: 'How far indexing of what is stored is, by id.' },
  { database: 'app', collection: 'claims', keys: { at: 1 }, options: { expireAfterSeconds: 86_400 }, why: 'A claim matters only while transactions that took it run.' },
  { database: 'app', collection: 'epochs', keys: { node: 1 }, options: { unique: true, partialFilterExpression: { live: true } }, why: 'No two live processes give out the same order of recording.' },
  { database: 'app', collection: 'epochs', keys: { doneAt: 1 }, options: { expireAfterSeconds: 604_800, partialFilterExpression: { doneAt: { $exists: true } } }, why: 'Epochs that need no more sweeps go away.' },
  { database: 'audit', collection: 'audit', why: 'Sealed blocks of the audit trail, insert-only.' },
  { database: 'audit', collection: 'audit', keys: { 'e.x': 1, to: 1 }, why: 'Entries by blind token (patient, person, resource, request, outcome of a day), in the order of time.' },
  { database: 'audit', collection: 'audit', keys: { 'e.i': 1 }, why: 'One entry by its id: AuditEvent read, and which entries a crashed process left out.' },
  { database: 'audit', collection: 'audit', keys: { to: 1 }, why: 'Everything that happened in a time range.' },
  { database: 'audit', collection: 'audit', keys: { n: 1 }, why: 'The first block of every stream.' },
  { database: 'audit', collection: 'audit_checkpoints', keys: { streams: 1, _id: 1 }, why: 'The checkpoint that names a block of a stream, and how far a stream is signed.' },
  { database: 'audit', collection: 'audit_segments', why: 'Segments that were archived, by the number of their first checkpoint.' },
  { database: 'audit', collection: 'audit_tombstones', why: 'Signed statements of what was purged, by the number of its first checkpoint.' },
  { database: 'audit', collection: 'audit_holds', why: 'Legal holds placed and lifted, in their order.' },
];

/**
 * Makes the collections and indexes of one database, as far as they are missing.
 *
 * @param connection a connection that may create them: for `audit` not the writer's own
 */
export async function applyIndexes(connection: Connection, database: IndexRow['database'], rows: readonly IndexRow[] = indexes): Promise<void> {
  const db = connection.db!;
  const existing = new Set((await db.listCollections({}, { nameOnly: true }).toArray()).map(({ name }) => name));
  const each = async ([collection, own]: [string, IndexRow[]]): Promise<void> => {
    const wanted = own.flatMap(({ keys, options }) => (keys === undefined ? [] : [{ ...options, key: keys }]));
    if (wanted.length > 0) await db.collection(collection).createIndexes(wanted);
    else if (!existing.has(collection)) await db.createCollection(collection).catch(ignoreExisting);
  };
  // Together, so that they share flushes of the journal.
  await Promise.all([...collectionsOf(database, rows)].map(each));
}

/** NamespaceExists: another process was first. */
function ignoreExisting(cause: unknown): void {
  if (!(cause instanceof Error && 'code' in cause && cause.code === 48)) throw cause;
}

/** The names of the collections declared for a database. */
export function collectionNames(database: IndexRow['database'], rows: readonly IndexRow[] = indexes): string[] {
  return [...collectionsOf(database, rows).keys()];
}

function collectionsOf(database: IndexRow['database'], rows: readonly IndexRow[]): Map<string, IndexRow[]> {
  return Map.groupBy(rows.filter((row) => row.database === database), (row) => row.collection);
}
