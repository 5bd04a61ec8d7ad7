/**
 * Writes `data/`: HL7's published FHIR R4 (4.0.1) definitions, cut down to what Interlock uses.
 *
 *   npx node resources/definitions/generate.ts
 *
 * The source is the npm package of `package.ts`. Same package in, same bytes out: the files are committed, and running
 * this again must leave the working tree unchanged.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import r4 from 'fhirpath/fhir-context/r4';
import { profileOf } from '../profiles/published.ts';
import type { Profile } from '../profiles/types.ts';
import { usCoreProfiles } from '../profiles/us-core.ts';
import { compactCompartments, compactSearchParams, compactStructures, compactValueSets, type Definition } from './compact.ts';
import { fetchDefinitions } from './package.ts';

const dataDir = join(import.meta.dirname, 'data');

const workDir = mkdtempSync(join(tmpdir(), 'fhir-definitions-'));
try {
  const read = fetchDefinitions(workDir);
  const structures = compactStructures([...read('profiles-types.json'), ...read('profiles-resources.json')], isR4);
  write('structures.ndjson', lines(structures));
  const terminology = [...read('valuesets.json'), ...read('v3-codesystems.json'), ...read('v2-tables.json')];
  const profiles = ['profiles-others.json', 'extension-definitions.json', 'testing/uscore-v5.0.1-structuredefinitions.json', 'testing/uscore-v7.0.0-smoking-status.json'].flatMap((file) => profilesOf(read(file)));
  write('profiles.ndjson', lines(profiles.map(({ isShipped: _, ...profile }) => ({ canonical: `${profile.url}|${profile.version!}`, ...profile }))));
  write('value-sets.ndjson', lines(compactValueSets(terminology, [...structures, ...profiles, ...usCoreProfiles().values()])));
  const types = structures.filter((structure) => structure.kind === 'resource' && !structure.abstract).map((structure) => structure.type);
  write('search-params.ndjson', lines(compactSearchParams(read('search-parameters.json'), types)));
  write('compartments.ndjson', lines(compactCompartments(read('profiles-resources.json'))));
} finally {
  rmSync(workDir, { recursive: true, force: true });
}

/** R4's own list of elements, from the model of fhirpath.js. It leaves out what every type inherits. */
function isR4(path: string): boolean {
  const plain = path.replace('[x]', '');
  const inherited = /\.(?:id|extension|modifierExtension|meta|implicitRules|language|text|contained)$/.test(path);
  return inherited ? isR4(path.slice(0, path.lastIndexOf('.'))) : !path.includes('.') || [r4.path2Type, r4.choiceTypePaths, r4.pathsDefinedElsewhere].some((known) => Object.hasOwn(known, plain));
}

/** Profiles and definitions of extensions of R4, and those of US Core. */
function profilesOf(definitions: readonly Definition[]): Profile[] {
  return definitions
    .filter((it) => it.resourceType === 'StructureDefinition' && (it.version === '4.0.1' || it.url?.startsWith('http://hl7.org/fhir/us/core/') === true))
    .flatMap((it) => profileOf(it as unknown as Readonly<Record<string, unknown>>, true) ?? [])
    .sort((a, b) => (a.url < b.url ? -1 : 1));
}

function lines(rows: readonly unknown[]): string {
  return rows.map((row) => `${JSON.stringify(row)}\n`).join('');
}

function write(file: string, content: string): void {
  writeFileSync(join(dataDir, file), content);
  process.stdout.write(`${file} ${(content.length / 1024).toFixed(0)} KiB\n`);
}
