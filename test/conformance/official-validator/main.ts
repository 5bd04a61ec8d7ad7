import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HttpClient } from '../../../server/demo/http-client.ts';
import { backendCaller, type Bundle } from '../../support/fhir.ts';
import { newEntryId } from '../../../server/audit/entry.ts';
import { renderEvents } from '../../../server/audit/render/event.ts';
import { kinds } from '../../rooms/audit/kinds.ts';
import { recordOf, site } from '../../rooms/audit/support.ts';
import { startTestServer } from '../../support/server.ts';

/*
 * node test/conformance/official-validator/main.ts [DIR]
 * Loads transaction Bundles (*.json of a directory; by default Synthea's, where they are) into a server of its own, asks it for
 * every kind of answer and has HL7's validator look at what was sent and at all of them. Java 17 and Maven have to be on the PATH; Maven fetches the
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
  const sent = readdirSync(source).filter((name) => name.endsWith('.json')).sort().slice(0, maxFiles).map((name) => join(source, name));
  for (const file of sent) await ask('POST', '', readFileSync(file));
  for (const path of ['metadata', 'metadata?mode=terminology', '_history?_count=200', 'Patient/_history', 'Patient?_revinclude=*&_count=2', 'Patient?_summary=true', 'Patient?_elements=name', 'Patient?_summary=count', 'Patient?nothing=1']) await ask('GET', path);
  const types = ((await ask('GET', 'metadata')).json() as { rest: { resource: { type: string }[] }[] }).rest[0]!.resource.map(({ type }) => type);
  for (const type of types) await ask('GET', `${type}?_count=20`);
  const [patient] = ((await ask('GET', 'Patient')).json() as Bundle).entry ?? [];
  const id = patient?.resource?.id ?? '';
  for (const path of [`Patient/${id}`, `Patient/${id}/_history`, `Patient/${id}/$meta`, `Patient/${id}/$validate`, `Patient/${id}/$everything`, `Observation/$lastn?patient=${id}&category=laboratory`, `Patient/${id}/$diff?fromVersion=1`, 'Patient/$meta', `Patient/${id}/Observation?_count=20`, 'Nothing', 'Patient/none', 'Patient?birthdate=x', 'Patient/none/$nothing']) await ask('GET', path);
  await ask('POST', 'Patient', { resourceType: 'Patient', gender: 'x', unknown: 1 });
  await ask('POST', 'Patient', { resourceType: 'Patient' }, { Prefer: 'return=OperationOutcome' });
  await ask('POST', '', { resourceType: 'Bundle', type: 'batch', entry: [{ request: { method: 'GET', url: 'Patient/none' } }, { request: { method: 'GET', url: 'Patient?_count=1' } }] });
  const gender = 'http://hl7.org/fhir/administrative-gender';
  for (const path of [
    'ValueSet/$expand?url=http://hl7.org/fhir/ValueSet/administrative-gender', `CodeSystem/$lookup?system=${gender}&code=male`, `CodeSystem/$validate-code?url=${gender}&code=none`,
    'ValueSet/$validate-code?url=http://hl7.org/fhir/ValueSet/administrative-gender&system=http://hl7.org/fhir/administrative-gender&code=male', `CodeSystem/$subsumes?system=${gender}&codeA=male&codeB=female`,
    'ConceptMap/$translate?url=http://hl7.org/fhir/ConceptMap/cm-administrative-gender-v3&system=http://hl7.org/fhir/administrative-gender&code=male', 'ValueSet/$expand?url=http://snomed.info/sct?fhir_vs', 'CodeSystem/$lookup?code=male',
  ]) await ask('GET', path);
  for (const operation of ['$meta-add', '$meta-delete']) await ask('POST', `Patient/${id}/${operation}`, { resourceType: 'Parameters', parameter: [{ name: 'meta', valueMeta: { tag: [{ system: 'urn:example', code: 'seen' }] } }] });
  await ask('POST', 'Patient/$validate', { resourceType: 'Parameters', parameter: [{ name: 'resource', resource: { resourceType: 'Patient', gender: 'x' } }] });
  await ask('GET', `Patient/${id}/$diff?fromVersion=1`);
  const gone = (await ask('POST', 'Basic', { resourceType: 'Basic', code: { text: 'x' } })).json() as { id: string };
  await ask('DELETE', `Basic/${gone.id}`);
  for (const path of [`Basic/${gone.id}`, `Basic/${gone.id}/_history`, 'Basic/_history', 'Observation?patient:Patient.name=none&_include=*&_count=5', 'AuditEvent?_count=500']) await ask('GET', path);
  // Of every kind of event one, also of those that this run has none of.
  for (const { record } of kinds) answers.push(...renderEvents(newEntryId(Date.now()), recordOf(record), site).map((event) => Buffer.from(JSON.stringify(event))));
  // Stored resources keep their line breaks, so that each answer has a file of its own.
  const files = answers.map((answer, index) => {
    const file = join(directory, `${index}.json`);
    writeFileSync(file, answer);
    return file;
  });
  const pom = join(import.meta.dirname, 'pom.xml');
  execFileSync('mvn', ['-q', '-B', '-f', pom, 'compile', 'exec:java', `-Dexec.args=${[...sent, '--', ...files].join(' ')}`], { stdio: 'inherit' });
} catch (error) {
  // Maven has said what it was.
  if (!(error instanceof Error && 'status' in error)) throw error;
  process.exitCode = 1;
} finally {
  http.close();
  await server.stop();
  rmSync(directory, { recursive: true });
}
