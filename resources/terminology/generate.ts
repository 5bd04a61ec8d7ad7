/**
 * Writes `data/terminology.ndjson.br`: the code systems, value sets and concept maps that HL7 published with FHIR R4.
 *
 *   npx node resources/terminology/generate.ts
 *
 * The source is the same pinned package as that of `resources/definitions/generate.ts`. One resource a line, compressed
 * with Brotli; same package in, same lines out.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { brotliCompressSync, constants } from 'node:zlib';
import { fetchDefinitions } from '../definitions/package.ts';
import type { TerminologyResource } from './types.ts';

/** Files of the package; of the last, only the systems below, which R4's value sets name but HL7 does not publish. */
const files = ['valuesets.json', 'v3-codesystems.json', 'v2-tables.json', 'conceptmaps.json', 'valuesets-medplum-generated.json'] as const;
const generated: ReadonlySet<string | undefined> = new Set(['urn:iso:std:iso:3166', 'urn:iso:std:iso:4217', 'http://unstats.un.org/unsd/methods/m49/m49.htm']);
/** Elements that no operation reads: narrative and editorial matter. Copyright notices stay. */
const dropped: ReadonlySet<string> = new Set(['text', 'meta', 'extension', 'contact', 'useContext', 'jurisdiction', 'immutable', 'purpose', 'identifier', '_description']);

const workDir = mkdtempSync(join(tmpdir(), 'fhir-terminology-'));
try {
  const read = fetchDefinitions(workDir);
  const rows = new Map<string, string>();
  for (const file of files) {
    for (const resource of read(file) as unknown as TerminologyResource[]) {
      const isOurs = file !== 'valuesets-medplum-generated.json' || generated.has(resource.url);
      if (!isOurs || resource.url === undefined) continue;
      const { resourceType, url, ...rest } = resource;
      const key = `${resourceType} ${url}`;
      if (rows.has(key)) continue;
      const kept = Object.entries(rest).filter(([name]) => !dropped.has(name) && name !== 'id');
      rows.set(key, `${JSON.stringify({ resourceType, url, ...Object.fromEntries(kept) })}\n`);
    }
  }
  const lines = Buffer.from([...rows.keys()].sort().map((key) => rows.get(key)).join(''));
  const packed = brotliCompressSync(lines, { params: { [constants.BROTLI_PARAM_SIZE_HINT]: lines.length, [constants.BROTLI_PARAM_LGWIN]: constants.BROTLI_MAX_WINDOW_BITS } });
  writeFileSync(join(import.meta.dirname, 'data/terminology.ndjson.br'), packed);
  process.stdout.write(`${rows.size} resources, ${(lines.length / 1024).toFixed(0)} KiB, packed ${(packed.length / 1024).toFixed(0)} KiB\n`);
} finally {
  rmSync(workDir, { recursive: true, force: true });
}
