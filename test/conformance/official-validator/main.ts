import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HttpClient } from '../../../server/demo/http-client.ts';
import { backendCaller, type Bundle } from '../../support/fhir.ts';
import { startTestServer } from '../../support/server.ts';

/*
 * node test/conformance/official-validator/main.ts [DIR]
 * Loads transaction Bundles (*.json of a directory; by default Synthea's, where they are) into a server of its own, asks it for
 * every kind of answer and has HL7's validator look at all of them. Java 17 and Maven have to be on the PATH; Maven fetches the
 * validator. Ends with 1 if it finds an error.
 */
const source = process.argv[2] ?? join(import.meta.dirname, '../../../../shared/data/synthea');
if (!existsSync(source)) throw new Error('Name a directory of transaction Bundles.');
const maxFiles = 3;
const server = await startTestServer();
const http = new HttpClient({ ca: server.ca });
const directory = mkdtempSync(join(tmpdir(), 'interlock-validator-'));
try {
  const answers: Buffer[] = [];
  const caller = await backendCaller(server, http, 'system/*.cruds');
  const ask = async (method: string, path: string, body?: unknown, headers: Readonly<Record<string, string>> = {}) => {
    const answer = await caller.send(method, path, body, headers);
    if (answer.body.length > 0) answers.push(answer.body);
    return answer;
  };
  for (const file of readdirSync(source).filter((name) => name.endsWith('.json')).sort().slice(0, maxFiles)) await ask('POST', '', readFileSync(join(source, file)));
  for (const path of ['metadata', 'metadata?mode=terminology', '_history?_count=200', 'Patient/_history', 'Patient?_revinclude=*&_count=2', 'Patient?_summary=true', 'Patient?_elements=name', 'Patient?_summary=count', 'Patient?nothing=1']) await ask('GET', path);
  const types = ((await ask('GET', 'metadata')).json() as { rest: { resource: { type: string }[] }[] }).rest[0]!.resource.map(({ type }) => type);
  for (const type of types) await ask('GET', `${type}?_count=20`);
  const [patient] = ((await ask('GET', 'Patient')).json() as Bundle).entry ?? [];
  const id = patient?.resource?.id ?? '';
  for (const path of [`Patient/${id}`, `Patient/${id}/_history`, `Patient/${id}/$meta`, `Patient/${id}/$validate`, `Patient/${id}/$everything`, `Patient/${id}/Observation?_count=20`, 'Nothing', 'Patient/none', 'Patient?birthdate=x', 'Patient/none/$nothing']) await ask('GET', path);
  await ask('POST', 'Patient', { resourceType: 'Patient', gender: 'x', unknown: 1 });
  await ask('POST', 'Patient', { resourceType: 'Patient' }, { Prefer: 'return=OperationOutcome' });
  await ask('POST', '', { resourceType: 'Bundle', type: 'batch', entry: [{ request: { method: 'GET', url: 'Patient/none' } }, { request: { method: 'GET', url: 'Patient?_count=1' } }] });
  await ask('GET', 'AuditEvent?_count=500');
  // Stored resources keep their line breaks, so that each answer has a file of its own.
  const files = answers.map((answer, index) => {
    const file = join(directory, `${index}.json`);
    writeFileSync(file, answer);
    return file;
  });
  const pom = join(import.meta.dirname, 'pom.xml');
  execFileSync('mvn', ['-q', '-B', '-f', pom, 'compile', 'exec:java', `-Dexec.args=${files.join(' ')}`], { stdio: 'inherit' });
} catch (error) {
  // Maven has said what it was.
  if (!(error instanceof Error && 'status' in error)) throw error;
  process.exitCode = 1;
} finally {
  http.close();
  await server.stop();
  rmSync(directory, { recursive: true });
}
