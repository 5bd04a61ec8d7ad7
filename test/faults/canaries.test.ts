import { expect, test } from '@jest/globals';
import { huntCanaries } from './canaries.ts';

test('nothing that is written through FHIR or HL7v2 can be read in files, documents or logs', async () => {
  const { canaries, files, documents, hits, control } = await huntCanaries(64, 1);
  expect(hits).toEqual([]);
  expect(canaries).toBe(64);
  expect(files).toBeGreaterThan(20);
  expect(documents).toBeGreaterThan(canaries);
  // The scanner does find: all of them where they are written unsealed, in files, in documents and in every encoding of a log.
  expect(control.inDocuments).toBe(canaries);
  expect(Object.values(control.inLogs)).toEqual(Object.values(control.inLogs).map(() => canaries));
  expect(control.inFiles).toBe(canaries);
}, 180_000);
