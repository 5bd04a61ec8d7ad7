import { InterlockError } from '../../resources/outcome/error.ts';
import type { VersionBody } from './body.ts';
import { orderMs } from './clock.ts';
import type { FileManifest, ResourceJson, StoredVersion } from './contract.ts';

/** A version in memory: opened from its document, or just sealed into one. */
export class OpenVersion implements StoredVersion {
  readonly type: string;
  readonly id: string;
  readonly versionId: number;
  readonly deleted: boolean;
  readonly order: bigint;
  readonly bytes: Buffer;
  readonly file?: FileManifest;
  readonly #patients: readonly string[];
  #resource: ResourceJson | undefined;

  constructor(body: VersionBody, { vid, o, del }: { readonly vid: number; readonly o: bigint; readonly del: boolean }) {
    this.type = body.type;
    this.id = body.id;
    this.versionId = vid;
    this.deleted = del;
    this.order = o;
    this.bytes = body.json;
    if (body.file !== undefined) this.file = body.file;
    this.#patients = body.patients;
  }

  get lastUpdated(): Date {
    return new Date(orderMs(this.order));
  }

  patients(): readonly string[] {
    return this.#patients;
  }

  resource(): ResourceJson {
    if (this.deleted) throw new InterlockError('deleted');
    return (this.#resource ??= JSON.parse(this.bytes.toString()) as ResourceJson);
  }
}
