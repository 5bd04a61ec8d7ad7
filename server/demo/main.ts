import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Secret } from 'otpauth';
import { renderTable } from '../cli/render.ts';
import { dayMessages, dayPatients, type DayMessage } from './day.ts';
import { HttpClient } from './http-client.ts';
import { MllpSender } from './mllp-sender.ts';
import { startServerProcess, type ServerProcess } from './server-process.ts';
import { backendKey, backendToken, launchApp, type TokenAnswer } from './smart-client.ts';

const patientCount = 20;

/** The system of the hospital's medical record numbers. */
const hospitalIds = 'urn:oid:2.16.840.1.113883.19.5';

/** Shows the main job from end to end on a server of its own, in a temporary directory. */
async function demo(): Promise<void> {
  say('Interlock, a demonstration: everything happens on a real server in a temporary directory.');
  const server = await step('Start the server, with its own MongoDB', async () => startServerProcess());
  process.once('SIGINT', () => void server.remove().then(() => process.exit(0)));
  try {
    await show(server);
    say('');
    if (!process.stdout.isTTY) return;
    say('The server stays up until Ctrl-C. Where to click next (its certificate is signed by its own CA, so your browser will ask):');
    say(`  what it can do      ${server.fhirUrl}/metadata`);
    say(`  how apps sign in    ${server.fhirUrl}/.well-known/smart-configuration`);
    say(`  is it well          ${server.baseUrl}/readyz`);
    say(`  its data, sealed    ${server.dataDir}`);
    say(`  ask it              INTERLOCK_DATA_DIR=${server.dataDir} INTERLOCK_KEYS_DIR=${server.keysDir} INTERLOCK_PORT=${new URL(server.baseUrl).port} npx interlock audit query`);
    await new Promise(() => undefined);
  } finally {
    await server.remove();
  }
}

async function show(server: ServerProcess): Promise<void> {
  const http = new HttpClient({ ca: server.ca });
  const patients = dayPatients(patientCount);
  const certificates = join(server.directory, 'partner');
  await step('Register a hospital as partner and give it a client certificate', async () => {
    await server.cliJson(['partner', 'add', '--name', 'Demo Hospital', '--baa-expires', '2099-12-31']);
    await server.cliJson(['partner', 'issue-cert', 'Demo Hospital', '--out', certificates]);
  });
  const [cert, key] = [readFileSync(join(certificates, 'client.crt'), 'utf8'), readFileSync(join(certificates, 'client.key'), 'utf8')];

  const outcomes = await sendDay(server, dayMessages(patients, new Date().toISOString().slice(0, 10)), cert, key);
  say(renderTable(['door', 'answer', 'messages'], [...outcomes].map(([outcome, count]) => [...outcome.split(' '), String(count)])));
  await step('Wait until everything is stored', async () => settled(server));

  const backend = await step('Load further patients as a backend service', async () => loadPatients(server, http));
  const person = { username: 'ada', password: `Demo-${randomBytes(9).toString('base64url')}1!`, totpSecret: new Secret({ size: 20 }).base32 };
  const own = (await search(server, http, backend, `Patient?identifier=${hospitalIds}|${patients[0]!.mrn}`))[0]!;
  const other = (await search(server, http, backend, `Patient?identifier=${hospitalIds}|${patients[1]!.mrn}`))[0]!;
  const token = await step('A patient signs in to an app with password and one-time code, and allows it to read', async () => launch(server, http, person, own.id));

  const rows: string[][] = [];
  for (const [what, path] of [
    ['own record', `Patient/${own.id}`],
    ['own encounters', `Encounter?patient=${own.id}`],
    ['own prescriptions', `MedicationRequest?patient=${own.id}`],
    ["somebody else's record", `Patient/${other.id}`],
    ['a type that was not allowed', `Coverage?patient=${own.id}`],
  ] as const) {
    const answer = await http.call(`${server.fhirUrl}/${path}`, { headers: { Authorization: `Bearer ${token.access_token}` } });
    const body = answer.json() as { total?: number; resourceType: string; issue?: { details: { text: string } }[] };
    rows.push([what, String(answer.status), body.issue?.[0]?.details.text ?? (body.total === undefined ? body.resourceType : `${body.total} found`)]);
  }
  say('');
  say(`The app was granted: ${token.scope}`);
  say(renderTable(['it asks for', 'status', 'it gets'], rows));

  say('');
  say('Who saw or changed the record of this patient (newest first):');
  say((await server.cli(['audit', 'query', '--patient', own.id, '--limit', '12'])).stdout.trimEnd());
  say('');
  const verified = await step('Verify the chain of the audit trail', async () => server.cli(['audit', 'verify']));
  say(verified.stdout.trimEnd());
  http.close();
}

async function sendDay(server: ServerProcess, messages: readonly DayMessage[], cert: string, key: string): Promise<Map<string, number>> {
  const sender = await MllpSender.connect({ host: '127.0.0.1', port: server.mllpPort, ca: server.ca, cert, key });
  const doors = new HttpClient({ ca: server.ca, cert, key });
  const outcomes = new Map<string, number>();
  const send = async ({ door, body }: DayMessage): Promise<string> => {
    if (door === 'hl7v2') return (await sender.send(body)).split('\r').find((segment) => segment.startsWith('MSA'))?.split('|')[1] ?? 'none';
    const answer = await doors.call(`${server.baseUrl}/channels/${door}`, { method: 'POST', body, headers: { 'Content-Type': door === 'fax' ? 'application/pdf' : 'application/xml' } });
    return String(answer.status);
  };
  for (const [index, message] of messages.entries()) {
    const outcome = `${message.door} ${await send(message)}`;
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    progress('Send a day of messages over mutual TLS', index + 1, messages.length);
  }
  sender.close();
  doors.close();
  return outcomes;
}

/** Messages are acknowledged when they are durable; a moment later they are in the record. */
async function settled(server: ServerProcess): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const channels = await server.cliJson<{ counts: { received: number; mapped: number } }[]>(['channel', 'status']);
    if (channels.every(({ counts }) => counts.received + counts.mapped === 0)) return;
  }
  throw new Error('The messages were not stored in time.');
}

async function loadPatients(server: ServerProcess, http: HttpClient): Promise<string> {
  const key = await backendKey();
  const jwksFile = join(server.directory, 'loader.jwks.json');
  writeFileSync(jwksFile, JSON.stringify(key.jwks));
  const scope = 'system/*.cruds';
  const { client_id: clientId } = await server.cliJson<{ client_id: string }>(['client', 'add', '--name', 'Loader', '--jwks', jwksFile, '--scope', scope]);
  const token = await backendToken(http, await endpoint(server, http, 'token_endpoint'), clientId, key, scope);
  const entry = dayPatients(patientCount * 2)
    .slice(patientCount)
    .map(({ mrn, family, given }) => ({
      resource: { resourceType: 'Patient', identifier: [{ system: hospitalIds, value: mrn }], name: [{ family, given: [given] }] },
      request: { method: 'POST', url: 'Patient', ifNoneExist: `identifier=${hospitalIds}|${mrn}` },
    }));
  const headers = { 'Authorization': `Bearer ${token.access_token}`, 'Content-Type': 'application/fhir+json' };
  const answer = await http.call(server.fhirUrl, { method: 'POST', headers, body: JSON.stringify({ resourceType: 'Bundle', type: 'transaction', entry }) });
  if (answer.status !== 200) throw new Error(`The transaction was answered by ${answer.status}.`);
  return token.access_token;
}

async function launch(server: ServerProcess, http: HttpClient, person: { username: string; password: string; totpSecret: string }, patientId: string): Promise<TokenAnswer> {
  await server.cliJson(['user', 'add', '--username', person.username, '--role', 'patient', '--patient', patientId, '--password-stdin', '--totp-secret', person.totpSecret], person.password);
  const redirectUri = 'http://127.0.0.1:8000/callback';
  const scope = 'launch/patient openid fhirUser patient/Patient.rs patient/Encounter.rs patient/MedicationRequest.rs';
  const { client_id: clientId } = await server.cliJson<{ client_id: string }>(['client', 'add', '--name', 'My Health', '--public', '--redirect-uri', redirectUri, '--scope', scope]);
  const [authorizeUrl, tokenUrl] = [await endpoint(server, http, 'authorization_endpoint'), await endpoint(server, http, 'token_endpoint')];
  return launchApp(http, { authorizeUrl, tokenUrl, fhirUrl: server.fhirUrl, clientId, redirectUri, scope, person });
}

async function endpoint(server: ServerProcess, http: HttpClient, name: string): Promise<string> {
  const answer = await http.call(`${server.fhirUrl}/.well-known/smart-configuration`);
  return (answer.json() as Record<string, string>)[name]!;
}

async function search(server: ServerProcess, http: HttpClient, token: string, path: string): Promise<{ id: string }[]> {
  const answer = await http.call(`${server.fhirUrl}/${path}`, { headers: { Authorization: `Bearer ${token}` } });
  return ((answer.json() as { entry?: { resource: { id: string } }[] }).entry ?? []).map(({ resource }) => resource);
}

async function step<T>(title: string, work: () => Promise<T>): Promise<T> {
  const beganMs = performance.now();
  if (process.stdout.isTTY) process.stdout.write(`… ${title}`);
  const result = await work();
  if (process.stdout.isTTY) process.stdout.write('\r\u001b[K');
  say(`✓ ${title} (${((performance.now() - beganMs) / 1000).toFixed(1)} s)`);
  return result;
}

const barWidth = 30;

function progress(title: string, done: number, total: number): void {
  const filled = Math.round((done / total) * barWidth);
  if (process.stdout.isTTY) process.stdout.write(`\r${'█'.repeat(filled)}${'░'.repeat(barWidth - filled)} ${done}/${total} ${title}\u001b[K`);
  if (done < total) return;
  if (process.stdout.isTTY) process.stdout.write('\r\u001b[K');
  say(`✓ ${title} (${total} messages)`);
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

await demo();
