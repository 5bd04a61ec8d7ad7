import { rmSync } from 'node:fs';
import { takeForTeardown } from './shared-mongod.ts';

/** Jest globalTeardown: stops the shared mongod and removes its files. */
export default async function teardown(): Promise<void> {
  const kept = takeForTeardown();
  if (kept === undefined) return;
  await kept.mongo.stop();
  rmSync(kept.directory, { recursive: true, force: true });
}
