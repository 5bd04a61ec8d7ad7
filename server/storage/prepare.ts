import { searchParamsOf } from '../../resources/definitions/index.ts';
import { InterlockError } from '../../resources/outcome/error.ts';
import { assertSearchParameter, extractSearchValues, patientsOf, type ValueContext } from '../../resources/search-values/index.ts';
import { withMeta } from '../../resources/validate/splice.ts';
import type { Keyring } from '../kms/keyring.ts';
import { binariesNamedIn, pointerLabel } from '../search/pointers.ts';
import { spreadLabel } from '../search/token-policy.ts';
import { indexTokens, type Emit } from '../search/tokens.ts';
import { indexWords } from '../search/word-tokens.ts';
import { sealColumns } from './column-seal.ts';
import { encodeColumns } from './columns.ts';
import type { FileManifest, PreparedWrite, ResourceJson } from './contract.ts';
import type { DocumentCodec } from './document.ts';
import type { HashedToken, TokenHasher } from './token-hash.ts';

/** Largest JSON of one resource. */
export const maxResourceBytes = 10 * 2 ** 20;
const maxTokens = 4_000;
const maxPatients = 5_000;

/** What {@link Preparer} made of a resource: all that does not depend on version and time. */
export class Prepared implements PreparedWrite {
  readonly type: string;
  readonly id: string;
  readonly docId: Buffer;
  readonly patients: readonly string[];
  readonly tokens: readonly Buffer[];
  /** Sealed. */
  readonly columns: Buffer;
  readonly file: FileManifest | undefined;
  readonly #bytes: Buffer;

  constructor(parts: { type: string; id: string; docId: Buffer; patients: readonly string[]; tokens: readonly Buffer[]; columns: Buffer; bytes: Buffer; file?: FileManifest | undefined }) {
    this.type = parts.type;
    this.id = parts.id;
    this.docId = parts.docId;
    this.patients = parts.patients;
    this.tokens = parts.tokens;
    this.columns = parts.columns;
    this.file = parts.file;
    this.#bytes = parts.bytes;
  }

  /** The JSON of one version. */
  json(versionId: number, at: Date): Buffer {
    return withMeta(this.#bytes, { id: this.id, versionId, lastUpdated: at });
  }
}

/** Makes resources ready to be written: extracts, tokenises, seals the columns. */
export class Preparer {
  readonly #codec: DocumentCodec;
  readonly #keyring: Keyring;
  readonly #tenant: string;
  readonly #hasher: TokenHasher;
  readonly #values: ValueContext;
  readonly #words: boolean;

  /** @param options `words`: whether the words of resources get tokens */
  constructor(options: { codec: DocumentCodec; keyring: Keyring; tenant: string; hasher: TokenHasher; values: ValueContext; words: boolean }) {
    this.#codec = options.codec;
    this.#keyring = options.keyring;
    this.#tenant = options.tenant;
    this.#hasher = options.hasher;
    this.#values = options.values;
    this.#words = options.words;
  }

  /** @throws InterlockError `too-large` */
  prepare(resource: ResourceJson, id: string, bytes: Buffer = Buffer.from(JSON.stringify(resource)), file?: FileManifest): Prepared {
    if (bytes.length > maxResourceBytes) throw new InterlockError('too-large');
    const type = resource.resourceType;
    const identified = resource.id === id ? resource : { ...resource, id };
    if (type === 'SearchParameter') assertSearchParameter(identified);
    return new Prepared({ type, id, bytes, file, docId: this.#codec.docId(type, id), ...this.index(identified, id) });
  }

  /** How a resource is found: its tokens and sealed columns. @throws InterlockError `too-large` */
  index(resource: ResourceJson, id: string): Pick<Prepared, 'patients' | 'tokens' | 'columns'> {
    const type = resource.resourceType;
    const values = extractSearchValues(resource, this.#values);
    const patients = patientsOf(resource, this.#values);
    if (patients.length > maxPatients) throw new InterlockError('too-large', { detail: 'The resource concerns too many patients.' });
    const params = searchParamsOf(type);
    const part = this.#codec.docId(type, id)[0]!;
    const labels = new Set<string>();
    const emit: Emit = (label, spread) => labels.add(spread === 1 ? label : spreadLabel(label, part % spread));
    indexTokens(type, params, values, patients, emit);
    for (const { id: binary } of binariesNamedIn(resource, this.#values.baseUrl)) labels.add(pointerLabel(binary));
    if (labels.size > maxTokens) throw new InterlockError('too-large', { detail: 'The resource has too many search values.' });
    if (this.#words) indexWords(type, resource, emit);
    const hashed: HashedToken[] = [];
    for (const label of labels) hashed.push(this.#hasher.hash(label));
    // By value, so that a token's place does not tell which parameter it is of.
    hashed.sort((a, b) => a.rank - b.rank);
    return { patients, tokens: hashed.map(({ token }) => token), columns: sealColumns(this.#keyring, this.#tenant, encodeColumns(id, params, values)) };
  }
}
