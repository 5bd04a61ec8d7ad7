import { createHash } from 'node:crypto';
import { searchParamsRevision } from '../../resources/definitions/index.ts';
import { capabilityStatement, terminologyCapabilities, type CapabilityFacts } from './capabilities.ts';
import { openApi } from './openapi.ts';

/** A document that is the same for everyone and changes only when users post or retire search parameters. */
export interface FhirDocument {
  readonly bytes: Buffer;
  readonly etag: string;
}

/** The documents in which the server tells of itself. */
const makers = { capabilities: capabilityStatement, terminology: terminologyCapabilities, openApi } as const satisfies Readonly<Record<string, (facts: CapabilityFacts) => unknown>>;

export type DocumentName = keyof typeof makers;

/** Makes each document when it is first asked for: they are large, and their sources are read on first use. */
export class FhirDocuments {
  readonly #facts: CapabilityFacts;
  readonly #made = new Map<DocumentName, FhirDocument>();
  #revision = searchParamsRevision();

  constructor(facts: CapabilityFacts) {
    this.#facts = facts;
  }

  get(name: DocumentName): FhirDocument {
    if (this.#revision !== searchParamsRevision()) {
      this.#revision = searchParamsRevision();
      this.#made.clear();
    }
    let document = this.#made.get(name);
    if (document === undefined) {
      const bytes = Buffer.from(JSON.stringify(makers[name](this.#facts)));
      document = { bytes, etag: `W/"${createHash('sha256').update(bytes).digest('hex').slice(0, 16)}"` };
      this.#made.set(name, document);
    }
    return document;
  }
}
