import type { ErrorCode } from '../outcome/catalogue.ts';

/** Most issues that one validation reports. */
export const maxIssues = 50;

/** One fault, at a place given as a JSON pointer made of defined property names and indexes. */
export interface Fault {
  readonly pointer: string;
  readonly code: ErrorCode;
  readonly detail: string;
}

/** A reference to a contained resource, to be resolved when the whole of its container has been seen. */
interface LocalReference {
  readonly pointer: string;
  /** Id of the contained resource; empty for the container itself. */
  readonly id: string;
  /** Must resolve (a Reference), or may be something else that starts with `#` (a canonical or uri). */
  readonly mustResolve: boolean;
  readonly targets?: ReadonlySet<string>;
}

/** What one validation has found so far. */
export class Report {
  readonly faults: Fault[] = [];
  /** References within the resource that is being read now, its contained resources included. */
  localReferences: LocalReference[] = [];
  /** False: resources in Bundle entries are left to be validated one by one. */
  readonly entryResources: boolean;

  constructor(entryResources: boolean) {
    this.entryResources = entryResources;
  }

  /** Nothing more will be reported. */
  get full(): boolean {
    return this.faults.length >= maxIssues;
  }

  add(pointer: string, code: ErrorCode, detail: string): void {
    const last = this.faults.at(-1);
    // Two unknown elements of one object would read the same, as their names are not repeated.
    if (!this.full && !(last?.pointer === pointer && last.detail === detail)) this.faults.push({ pointer, code, detail });
  }
}
