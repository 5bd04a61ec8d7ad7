import { InterlockError } from '../../resources/outcome/error.ts';
import { idBytes, type DocumentCodec, type StoredDocument } from './document.ts';
import type { ExpectedVersion, RecordedVersion } from './inventory.ts';

/** What can be wrong with what is stored, compared with what the audit trail says was written. */
export type FindingKind =
  /** Changed, or not the version that was recorded. */
  | 'altered'
  /** It is another version, or has the content of another. */
  | 'swapped'
  /** The current version is older than the newest one recorded. */
  | 'rolled-back'
  | 'removed'
  /** Stored, but nobody ever recorded its writing. */
  | 'unrecorded'
  /** Unaltered as far as can be seen, but its key is gone. */
  | 'unreadable';

export interface IntegrityFinding {
  readonly kind: FindingKind;
  /** Which resource; absent where neither the trail nor the document tells. */
  readonly type?: string;
  readonly id?: string;
  readonly versionId?: number;
  /** Id of the document in MongoDB, hex. */
  readonly document: string;
  /** In plain words. */
  readonly text: string;
}

/** What the check asks of the audit trail. */
export interface TrailOfWrites {
  /** The writes that an entry in the trail tells of. */
  recorded(entryId: Buffer): Promise<readonly RecordedVersion[]>;
  /** What a sealed entry says, whether it is in the trail or not; nothing if it does not open. */
  opened(sealed: Buffer): Promise<readonly RecordedVersion[]>;
  /** Whether an entry that is not in the trail is as old as those that were purged after their time. */
  isPurged(entryId: Buffer): boolean;
}

/** How a stored document was found. */
export type DocumentState = 'sound' | 'broken' | 'other' | 'unrecorded' | 'unreadable' | 'content-altered' | 'content-removed';

/** A document that was looked at. */
export interface SeenDocument {
  readonly state: DocumentState;
  /** False: among the past versions. */
  readonly current: boolean;
  /** As it says itself; if it is broken and among the past ones, as its id says. */
  readonly versionId: number;
  /** Kept to explain what is wrong with it. */
  readonly document?: StoredDocument;
}

/** Something that does not fit, before it has a name. */
export interface Misfit {
  readonly kind: FindingKind;
  readonly docId: Buffer;
  readonly versionId: number;
  readonly text: string;
  readonly expected?: ExpectedVersion;
  readonly seen?: SeenDocument;
}

const byState = {
  broken: ['altered', 'It was changed.'],
  other: ['altered', 'It is not the version that was recorded under this number.'],
  unrecorded: ['unrecorded', 'No audit entry tells of its writing.'],
  unreadable: ['unreadable', 'Its data key is not there.'],
  'content-altered': ['altered', 'A part of its content was changed.'],
  'content-removed': ['removed', 'A part of its content is gone.'],
} as const satisfies Readonly<Record<Exclude<DocumentState, 'sound'>, readonly [FindingKind, string]>>;

/** Compares what is stored of one resource with what must be. Both are in any number. */
export function compare(docId: Buffer, expected: readonly ExpectedVersion[], seen: readonly SeenDocument[]): Misfit[] {
  const misfits: Misfit[] = [];
  const current = seen.find((one) => one.current);
  const newest = expected.at(-1);
  const expectedOf = (one: SeenDocument): ExpectedVersion | undefined => (one.current && one.state === 'broken' ? newest : expected.find(({ versionId }) => versionId === one.versionId));
  for (const one of seen) {
    if (one.state === 'sound') continue;
    const of = expectedOf(one);
    const [kind, text] = byState[one.state];
    misfits.push({ kind, text, docId, versionId: of?.versionId ?? one.versionId, seen: one, ...(of === undefined ? {} : { expected: of }) });
  }
  if (newest === undefined) return misfits;
  // A broken document stands for the version whose place it has.
  const present = new Set(seen.map((one) => expectedOf(one)?.versionId));
  const isCurrent = current !== undefined && current.state !== 'broken';
  if (current === undefined) misfits.push({ kind: 'removed', text: 'Its current version is gone.', docId, versionId: newest.versionId, expected: newest });
  else if (isCurrent && current.versionId < newest.versionId) {
    misfits.push({ kind: 'rolled-back', text: `Version ${current.versionId} is stored as the current one.`, docId, versionId: newest.versionId, expected: newest });
  }
  for (const one of expected) {
    // What is above the current one was told of by the lines before.
    if (one === newest || present.has(one.versionId) || (isCurrent && one.versionId > current.versionId)) continue;
    misfits.push({ kind: 'removed', text: 'This past version is gone.', docId, versionId: one.versionId, expected: one });
  }
  return misfits;
}

/** Names misfits, and says of broken documents where what stands there comes from, as far as one can tell. */
export async function explain(misfits: readonly Misfit[], codec: DocumentCodec, trail: TrailOfWrites): Promise<IntegrityFinding[]> {
  const broken = misfits.filter(({ seen }) => seen?.state === 'broken').slice(0, maxCompared);
  const findings: IntegrityFinding[] = [];
  const nameOf = async ({ expected, seen }: Misfit): Promise<RecordedVersion | undefined> => {
    if (expected !== undefined) return (await trail.recorded(expected.entryId)).find(({ versionId }) => versionId === expected.versionId);
    const document = seen?.document;
    return document === undefined || seen?.state === 'broken' ? undefined : named(document, codec);
  };
  for (const misfit of misfits) {
    const { docId, versionId, seen } = misfit;
    const name = await nameOf(misfit);
    const place = { ...(name === undefined ? {} : { type: name.type, id: name.id }), versionId, document: docId.toString('hex') };
    if (seen?.state !== 'broken' || seen.document === undefined) {
      findings.push({ kind: misfit.kind, ...place, text: misfit.text });
      continue;
    }
    const { document } = seen;
    const said = Buffer.isBuffer(document.audit) ? (await trail.opened(document.audit))[0] : undefined;
    const from = broken.find((other) => other !== misfit && codec.wasSealedFor(document, other.seen!.document!));
    const source = said !== undefined && (name === undefined || !sameVersion(said, name)) ? said : from === undefined ? undefined : await nameOf(from);
    if (name === undefined) findings.push({ kind: 'unrecorded', ...place, text: source === undefined ? 'It was not written by this system.' : `It is a copy of ${versionText(source)}.` });
    else if (source !== undefined) findings.push({ kind: 'swapped', ...place, text: `What stands here is ${versionText(source)}.` });
    else findings.push({ kind: 'altered', ...place, text: codec.wasSealedFor(document, document) ? 'Its content is as it was; what surrounds it was changed: search tokens, columns, flags or its audit entry.' : misfit.text });
  }
  return findings;
}

const maxCompared = 200;

/** Of an intact document. */
function named(document: StoredDocument, codec: DocumentCodec): RecordedVersion | undefined {
  try {
    const { type, id } = codec.open(document);
    return { type, id, versionId: document.vid, hash: '', entryId: document.audit.subarray(0, idBytes) };
  } catch (error) {
    if (error instanceof InterlockError) return undefined;
    throw error;
  }
}

function sameVersion(a: RecordedVersion, b: RecordedVersion): boolean {
  return a.type === b.type && a.id === b.id && a.versionId === b.versionId;
}

function versionText({ type, id, versionId }: RecordedVersion): string {
  return `version ${versionId} of ${type}/${id}`;
}
