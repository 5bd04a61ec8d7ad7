import { execFileSync, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Secret } from 'otpauth';
import { HttpClient, type HttpAnswer } from '../../server/demo/http-client.ts';
import { launchApp, type TokenAnswer } from '../../server/demo/smart-client.ts';
import { ackCode, addPartner, admission, Backend, issueCertificate, mllpSender, mrnSystem, smartEndpoints, untilRouted, type PartnerCertificate, type SearchPage } from '../support/callers.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

/*
 * The main job from outside, in real processes: a hospital's ADT message becomes a scoped SMART read with its audit trail.
 */

interface AuditRow {
  readonly requestId: string;
  readonly event: string;
  readonly outcome: string;
}

const redirectUri = 'https://app.example.org/callback';
const mrn = { own: 'J-1001', other: 'J-2002' };

let server: TestServer;
let http: HttpClient;
let backend: Backend;
let hospital: PartnerCertificate;
let patientId: string;
let otherId: string;

beforeAll(async () => {
  server = await startTestServer();
  http = new HttpClient({ ca: server.ca });
  backend = await Backend.register(server);
  hospital = await addPartner(server, 'northfield');
}, 60_000);

afterAll(async () => {
  http?.close();
  backend?.close();
  await server?.remove();
});

/** Calls the FHIR API with a token. @returns the answer and the id under which it was audited */
async function withToken(token: TokenAnswer, method: string, path: string): Promise<HttpAnswer & { readonly requestId: string }> {
  const answer = await http.call(`${server.fhirUrl}/${path}`, { method, headers: { Authorization: `Bearer ${token.access_token}` } });
  return { ...answer, requestId: String(answer.headers['x-request-id']) };
}

/** Adds a person and launches an app as this person. */
async function launchAs(username: string, role: string, scope: string, args: readonly string[] = []): Promise<{ readonly userId: string; readonly token: TokenAnswer }> {
  const password = 'Correct horse 4 staples!';
  const totpSecret = new Secret({ size: 20 }).base32;
  const { id: userId } = await server.cliJson<{ id: string }>(['user', 'add', '--username', username, '--role', role, '--password-stdin', '--totp-secret', totpSecret, ...args], `${password}\n`);
  const { client_id: clientId } = await server.cliJson<{ client_id: string }>(['client', 'add', '--name', `App of ${username}`, '--public', '--redirect-uri', redirectUri, '--scope', scope]);
  const endpoints = await smartEndpoints(server, http);
  const token = await launchApp(http, {
    authorizeUrl: endpoints.authorization_endpoint, tokenUrl: endpoints.token_endpoint, fhirUrl: server.fhirUrl, clientId, redirectUri, scope, person: { username, password, totpSecret },
  });
  return { userId, token };
}

describe('a message from the hospital', () => {
  test('is acknowledged and becomes Patient, Encounter and Provenance with its source', async () => {
    const sender = await mllpSender(server, hospital);
    const message = admission({ controlId: 'J1', mrn: mrn.own, family: 'Sample', given: 'Ada' });
    expect(ackCode(await sender.send(message))).toBe('AA');
    expect(ackCode(await sender.send(admission({ controlId: 'J2', mrn: mrn.other, family: 'Other', given: 'Ben' })))).toBe('AA');
    sender.close();
    await untilRouted(server);
    const patients = await backend.get<SearchPage>(`Patient?identifier=${encodeURIComponent(`${mrnSystem}|${mrn.own}`)}`);
    expect(patients.entry).toHaveLength(1);
    expect(patients.entry![0]!.resource).toMatchObject({ name: [{ family: 'Sample', given: ['Ada'] }], birthDate: '1970-02-14', gender: 'female' });
    patientId = patients.entry![0]!.resource.id;
    otherId = (await backend.get<SearchPage>(`Patient?identifier=${encodeURIComponent(`${mrnSystem}|${mrn.other}`)}`)).entry![0]!.resource.id;
    const encounters = await backend.get<SearchPage>(`Encounter?patient=${patientId}`);
    expect(encounters.entry).toHaveLength(1);
    expect(encounters.entry![0]!.resource['class']).toMatchObject({ code: 'IMP' });
    const provenances = await backend.get<SearchPage>(`Provenance?target=Patient/${patientId}`);
    expect(provenances.entry).toHaveLength(1);
    const source = (provenances.entry![0]!.resource['entity'] as { what: { reference: string } }[])[0]!.what.reference;
    const binary = await backend.call('GET', source, undefined, { Accept: 'application/fhir+json' });
    expect(Buffer.from((binary.json() as { data: string }).data, 'base64').toString()).toBe(message);
  });

  test('is admitted with a valid client certificate only; a revoked one is refused without a restart', async () => {
    try {
      execFileSync('openssl', ['version'], { stdio: 'ignore' });
    } catch {
      console.warn('skipped: there is no openssl on the PATH');
      return;
    }
    const spare = await issueCertificate(server, 'northfield', join(server.directory, 'spare'));
    const send = async (certificate: PartnerCertificate | undefined, controlId: string, version: string): Promise<string> => opensslSend(certificate, admission({ controlId, mrn: 'J-3003' }), version);
    for (const version of ['-tls1_2', '-tls1_3']) {
      expect(await send(spare, `with${version}`, version)).toContain('MSA|AA');
      expect(await send(undefined, `without${version}`, version)).toMatch(/^(?![\s\S]*MSA\|)[\s\S]*alert/);
    }
    expect((await server.cli(['partner', 'revoke-cert', 'northfield', spare.serial])).code).toBe(0);
    for (const version of ['-tls1_2', '-tls1_3']) expect(await send(spare, `revoked${version}`, version)).not.toContain('MSA|');
    expect(await send(hospital, 'still-valid', '-tls1_3')).toContain('MSA|AA');
  });
});

/** What `openssl s_client` prints when it sends a message and waits a little for the answer. */
async function opensslSend(certificate: PartnerCertificate | undefined, message: string, version: string): Promise<string> {
  const identity = certificate === undefined ? [] : ['-cert', join(certificate.directory, 'client.crt'), '-key', join(certificate.directory, 'client.key')];
  const child = spawn('openssl', ['s_client', '-connect', `127.0.0.1:${server.mllpPort}`, '-CAfile', join(server.dataDir, 'pki', 'ca.crt'), '-quiet', version, ...identity]);
  let output = '';
  return new Promise((resolve) => {
    const timer = setTimeout(() => child.kill(), 5_000);
    const take = (chunk: Buffer): void => {
      output += chunk.toString();
      if (output.includes('MSA|')) child.kill();
    };
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    child.stdin.on('error', () => undefined);
    child.on('close', () => {
      clearTimeout(timer);
      resolve(output);
    });
    child.stdin.write(`\x0b${message}\x1c\r`);
  });
}

describe('the patient with an app', () => {
  let token: TokenAnswer;
  let userId: string;
  const audited: { requestId: string; status: number }[] = [];

  beforeAll(async () => {
    ({ token, userId } = await launchAs('ada', 'patient', 'openid fhirUser launch/patient patient/Patient.rs patient/Encounter.rs', ['--patient', patientId]));
  });

  async function call(method: string, path: string): Promise<HttpAnswer> {
    const answer = await withToken(token, method, path);
    audited.push({ requestId: answer.requestId, status: answer.status });
    return answer;
  }

  test('is launched in the context of the own record', () => {
    expect(token.patient).toBe(patientId);
    expect(token.scope.split(' ')).toEqual(expect.arrayContaining(['patient/Patient.rs', 'patient/Encounter.rs']));
  });

  test('reads the own record, and nobody else\'s', async () => {
    const own = await call('GET', `Patient/${patientId}`);
    expect([own.status, (own.json() as { id: string }).id]).toEqual([200, patientId]);
    const other = await call('GET', `Patient/${otherId}`);
    expect([403, 404]).toContain(other.status);
    expect(other.body.toString()).not.toContain('Other');
    const unknown = await call('GET', 'Patient/does-not-exist');
    expect(unknown.status).toBe(other.status);
  });

  test('searches within the own compartment and the granted types', async () => {
    const ids = (answer: HttpAnswer) => ((answer.json() as SearchPage).entry ?? []).map(({ resource }) => resource.id);
    expect(ids(await call('GET', 'Patient'))).toEqual([patientId]);
    expect(ids(await call('GET', `Patient?identifier=${mrn.other}`))).toEqual([]);
    expect(ids(await call('GET', `Patient?_id=${otherId}`))).toEqual([]);
    expect(ids(await call('GET', 'Encounter'))).toHaveLength(1);
    expect(ids(await call('GET', `Encounter?patient=${otherId}`))).toEqual([]);
    expect((await call('GET', 'Provenance')).status).toBe(403);
    expect((await call('DELETE', `Patient/${patientId}`)).status).toBe(403);
  });

  test('leaves each access exactly once in the audit trail, for the operator, the auditor and a monitoring service', async () => {
    expect(audited).toHaveLength(10);
    const wanted = audited.map(({ requestId, status }) => [requestId, status < 400 ? 'ok' : 'refused'] as const).sort();
    const all = (await server.cliJson<AuditRow[]>(['audit', 'query', '--agent', userId, '--limit', '1000'])).filter(({ event }) => !/^(?:login|token|logout)/.test(event));
    const asked = new Set(audited.map(({ requestId }) => requestId));
    const rows = all.filter(({ requestId }) => asked.has(requestId));
    // The rest is the consent page's: it told how many records each scope would release.
    expect(all.filter(({ requestId, event }) => !asked.has(requestId) && !event.includes('search'))).toEqual([]);
    expect(rows.map(({ requestId, outcome }) => [requestId, outcome.startsWith('ok') ? 'ok' : 'refused'] as const).sort()).toEqual(wanted);

    const { token: auditor } = await launchAs('vera', 'auditor', 'openid fhirUser user/AuditEvent.rs');
    const monitor = await Backend.register(server, 'system/AuditEvent.rs');
    const bearers = [auditor, { access_token: await monitor.token() } as TokenAnswer];
    for (const bearer of bearers) {
      const answer = await withToken(bearer, 'GET', `AuditEvent?patient=Patient/${patientId}&_count=500`);
      expect(answer.status).toBe(200);
      const seen = ((answer.json() as SearchPage).entry ?? []).map(({ resource }) => requestIdOf(resource));
      const [ownRead] = audited;
      expect(seen.filter((id) => id === ownRead!.requestId)).toHaveLength(1);
    }
    expect((await withToken(bearers[1]!, 'GET', `Patient/${patientId}`)).status).toBe(403);
    monitor.close();
  });

  test('leaves the sign-in, the consent\'s token and the message in the audit trail, too', async () => {
    const { stdout } = await server.cli(['audit', 'query', '--limit', '1000']);
    for (const event of ['login', 'token', 'channel message-received', 'transaction', 'command']) expect(stdout).toContain(event);
    const byUser = await server.cliJson<AuditRow[]>(['audit', 'query', '--agent', userId, '--limit', '1000']);
    expect(byUser.some(({ event, outcome }) => event.startsWith('login') && outcome === 'ok')).toBe(true);
  });
});

function requestIdOf(event: Readonly<Record<string, unknown>>): string | undefined {
  const entities = event['entity'] as { type?: { code?: string }; what?: { identifier?: { value?: string } } }[];
  return entities.find(({ type }) => type?.code === 'XrequestId')?.what?.identifier?.value;
}

describe('the audit trail', () => {
  test('takes no AuditEvent from anyone', async () => {
    const [event] = (await backend.get<SearchPage>('AuditEvent?_count=1')).entry!;
    const { resource } = event!;
    for (const [method, path, body] of [
      ['POST', 'AuditEvent', { ...resource, id: undefined }],
      ['PUT', `AuditEvent/${resource.id}`, resource],
      ['PUT', 'AuditEvent/made-up', { ...resource, id: 'made-up' }],
      ['DELETE', `AuditEvent/${resource.id}`, undefined],
      ['DELETE', 'AuditEvent?action=R', undefined],
    ] as const) {
      expect([method, path.split('/')[0], (await backend.call(method, path, body)).status]).toEqual([method, path.split('/')[0], 405]);
    }
    const entry = { resource: { ...resource, id: undefined }, request: { method: 'POST', url: 'AuditEvent' } };
    const transaction = await backend.call('POST', '', { resourceType: 'Bundle', type: 'transaction', entry: [entry] });
    expect(transaction.status).toBeGreaterThanOrEqual(400);
  });

  test('is unaltered', async () => {
    const { code, stdout } = await server.cli(['audit', 'verify']);
    expect([code, stdout]).toEqual([0, expect.stringContaining('unaltered')]);
  });

  test('holds no content that the logs would tell', () => {
    expect(server.output()).not.toMatch(/Sample|Mill Lane|J-1001/);
    expect(readFileSync(join(server.dataDir, 'mongo', 'mongod.log'), 'utf8')).not.toMatch(/Mill Lane|J-1001/);
  });
});
