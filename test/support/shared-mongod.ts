import type { EmbeddedMongo } from '../../server/mongo/embedded.ts';

/** What globalSetup leaves for globalTeardown. Jest may load this module once for each, so it is kept on the global object. */
interface Kept {
  readonly mongo: EmbeddedMongo;
  readonly directory: string;
}

const slot = Symbol.for('interlock.test.mongod');

/** Called by globalSetup. */
export function keepForTeardown(mongo: EmbeddedMongo, directory: string): void {
  (globalThis as Record<symbol, unknown>)[slot] = { mongo, directory } satisfies Kept;
}

/** Called by globalTeardown. */
export function takeForTeardown(): Kept | undefined {
  return (globalThis as Record<symbol, unknown>)[slot] as Kept | undefined;
}
