import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { AuditRecord } from '../../server/audit/record.ts';
import { commands } from '../../server/cli/commands/index.ts';
import { HttpClient } from '../../server/demo/http-client.ts';
import { operations } from '../../server/fhir/operations/index.ts';
import { routeTable } from '../../server/fhir/routes.ts';
import { addPartner, admission, Backend, mllpSender, untilRouted } from '../support/callers.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

/*
 * Every way into the server, as its own tables and routers tell them, allowed, refused, and as a stranger: each yields exactly
 * the events that its row says. What is new there has no row here, and fails.
 */

interface Row {
  /** Below the FHIR base; `{p}` is the id of a Patient of its own. */
  readonly path: string;
  readonly body?: object;
  readonly headers?: Readonly<Record<string, string>>;
  /** Events, see {@link short}, in any order. */
  readonly allowed: readonly string[];
  /** As a client that may read Questionnaires only. */
  readonly denied: readonly string[];
}

const system = 'urn:example:completeness';
const own = { resourceType: 'Patient', id: '{p}', name: [{ family: 'Recorded' }], identifier: [{ system, value: '{p}' }] };
const { id: _, ...fresh } = own;
const patch = { body: [{ op: 'add', path: '/active', value: true }], headers: { 'Content-Type': 'application/json-patch+json' } };
const form = { 'Content-Type': 'application/x-www-form-urlencoded' };
const parameters = (...parameter: object[]) => ({ resourceType: 'Parameters', parameter });
const tag = parameters({ name: 'meta', valueMeta: { tag: [{ system, code: 'seen' }] } });
const read = { allowed: ['read R ok Patient×1'], denied: ['read R forbidden Patient×1'] };
const search = { allowed: ['search-type E ok Patient×1'], denied: ['search-type E forbidden'] };
const searchAll = { allowed: ['search-system E ok Patient×1'], denied: ['search-system E forbidden'] };
const nothingFound = { allowed: ['search-type E ok'], denied: ['search-type E forbidden'] };
const same = (...events: string[]) => ({ allowed: events, denied: events });

/** By method and path of the route table. */
const routes: Readonly<Record<string, Row>> = {
  'GET metadata': { path: 'metadata', ...same() },
  'POST ': { path: '', body: { resourceType: 'Bundle', type: 'batch', entry: [{ request: { method: 'GET', url: 'Patient/{p}' } }] }, ...read },
  'GET ': { path: '?_id={p}', ...searchAll },
  'POST _search': { path: '_search?_id={p}', headers: form, ...searchAll },
  'GET _history': { path: '_history?_count=1', allowed: ['history-system R ok Patient×1'], denied: ['history-system R ok'] },
  'GET :type': { path: 'Patient?identifier={p}', ...search },
  'POST :type/_search': { path: 'Patient/_search?identifier={p}', headers: form, ...search },
  'POST :type': { path: 'Patient', body: fresh, allowed: ['create C ok Patient×1'], denied: ['create C forbidden'] },
  'PUT :type': { path: 'Patient?identifier={p}', body: fresh, allowed: ['search-type E ok Patient×1', 'update U ok Patient×1'], denied: ['search-type E forbidden'] },
  'PATCH :type': { path: 'Patient?identifier={p}', ...patch, allowed: ['search-type E ok Patient×1', 'update U ok Patient×1'], denied: ['search-type E forbidden'] },
  'DELETE :type': { path: 'Patient?identifier={p}', allowed: ['search-type E ok Patient×1', 'delete D ok Patient×1'], denied: ['search-type E forbidden'] },
  'GET :type/_history': { path: 'Patient/_history?_count=1', allowed: ['history-type R ok Patient×1'], denied: ['history-type R forbidden'] },
  'GET :type/:id': { path: 'Patient/{p}', ...read },
  'PUT :type/:id': { path: 'Patient/{p}', body: own, allowed: ['update U ok Patient×1'], denied: ['update U forbidden Patient×1'] },
  'PATCH :type/:id': { path: 'Patient/{p}', ...patch, allowed: ['update U ok Patient×1'], denied: ['patch U forbidden Patient×1'] },
  'DELETE :type/:id': { path: 'Patient/{p}', allowed: ['delete D ok Patient×1'], denied: ['delete D forbidden Patient×1'] },
  'GET :type/:id/_history': { path: 'Patient/{p}/_history', allowed: ['history-instance R ok Patient×1'], denied: ['history-instance R forbidden Patient×1'] },
  'GET :type/:id/_history/:vid': { path: 'Patient/{p}/_history/1', allowed: ['vread R ok Patient×1'], denied: ['vread R forbidden Patient×1'] },
  'GET :compartment/:id/:member': { path: 'Patient/{p}/Observation', ...nothingFound },
  'POST :compartment/:id/:member/_search': { path: 'Patient/{p}/Observation/_search', headers: form, ...nothingFound },
};

/** Other outcomes of the same routes. */
const more: Readonly<Record<string, Row & { readonly method: string }>> = {
  'a transaction': { method: 'POST', path: '', body: { resourceType: 'Bundle', type: 'transaction', entry: [{ request: { method: 'GET', url: 'Patient/{p}' } }, { resource: fresh, request: { method: 'POST', url: 'Patient' } }] }, allowed: ['transaction E ok', 'create C ok Patient×1', 'read R ok Patient×1'], denied: ['bundle E forbidden'] },
  'a conditional create': { method: 'POST', path: 'Patient', body: fresh, headers: { 'If-None-Exist': 'identifier=none{p}' }, allowed: ['search-type E ok', 'create C ok Patient×1'], denied: ['search-type E forbidden'] },
  'a read of what is not there': { method: 'GET', path: 'Patient/none{p}', allowed: ['read R not-found Patient×1'], denied: ['read R forbidden Patient×1'] },
  'an update of another version': { method: 'PUT', path: 'Patient/{p}', body: own, headers: { 'If-Match': 'W/"9"' }, allowed: ['update U version-stale Patient×1'], denied: ['update U forbidden Patient×1'] },
  'the trail itself': { method: 'GET', path: 'AuditEvent?_count=1', allowed: ['search-type E ok AuditEvent×1'], denied: ['search-type E forbidden'] },
  'criteria left out': { method: 'DELETE', path: 'Patient', ...same('conditional-delete D criteria-required') },
  'no such type': { method: 'GET', path: 'NoSuchType/1', ...same('unknown E not-found') },
  'no such method': { method: 'DELETE', path: 'metadata', ...same('unknown E interaction-unsupported') },
};

const gender = 'http://hl7.org/fhir/administrative-gender';
const genders = 'http://hl7.org/fhir/ValueSet/administrative-gender';
const onMeta = (allowed: string, denied: string) => ({ allowed: ['$meta E ok', allowed], denied: [denied] });

/** By the path of each operation, at each level, on the first of its types; criteria follow in `path`. */
const calls: Readonly<Record<string, Omit<Row, 'path'> & { readonly query?: string }>> = {
  '$meta': onMeta('search-system E ok', 'search-system E forbidden'),
  'Patient/$meta': onMeta('search-type E ok', 'search-type E forbidden'),
  'Patient/{p}/$meta': { allowed: ['$meta E ok Patient×1', 'read R ok Patient×1'], denied: read.denied },
  'Patient/{p}/$meta-add': { body: tag, allowed: ['$meta-add E ok Patient×1', 'update U ok Patient×1', 'read R ok Patient×1'], denied: read.denied },
  'Patient/{p}/$meta-delete': { body: tag, allowed: ['$meta-delete E ok Patient×1', 'read R ok Patient×1'], denied: read.denied },
  '$diff': { query: '?from=Patient/{p}&to=Patient/{p}', allowed: ['$diff E ok', 'read R ok Patient×1', 'read R ok Patient×1'], denied: read.denied },
  'Patient/{p}/$diff': { allowed: ['$diff E ok Patient×1', 'history-instance R ok Patient×1', 'read R ok Patient×1'], denied: read.denied },
  'Observation/$lastn': { query: '?patient={p}&category=laboratory', allowed: ['$lastn E ok', 'search-type E ok'], denied: ['search-type E forbidden'] },
  'Patient/$everything': { query: '?_count=1', allowed: ['$everything E ok', 'search-system E ok Patient×1'], denied: ['$everything E ok'] },
  'Patient/{p}/$everything': { allowed: ['$everything E ok Patient×1', 'search-system E ok Patient×1', 'read R ok Patient×1'], denied: read.denied },
  'Encounter/{p}/$everything': { allowed: ['read R not-found Encounter×1'], denied: ['read R forbidden Encounter×1'] },
  'Patient/$match': { body: parameters({ name: 'resource', resource: fresh }), allowed: ['$match E ok', 'search-type E ok Patient×1'], denied: ['search-type E forbidden'] },
  'Patient/$merge': {
    body: parameters({ name: 'source-patient', valueReference: { reference: 'Patient/{p}' } }, { name: 'target-patient', valueReference: { reference: 'Patient/target' } }),
    allowed: ['$merge E ok', 'transaction E ok', 'create C ok Provenance×1', 'update U ok Patient×1', 'update U ok Patient×1'], denied: ['transaction E forbidden'],
  },
  'Patient/$unmerge': { body: parameters(), ...same('transaction E request-invalid') },
  'ValueSet/$expand': { query: `?url=${genders}`, allowed: ['$expand E ok', 'search-type E ok', 'search-type E ok'], denied: ['$expand E ok'] },
  'ValueSet/{p}/$expand': { allowed: ['read R not-found ValueSet×1'], denied: ['read R forbidden ValueSet×1'] },
  'CodeSystem/$lookup': { query: `?system=${gender}&code=male`, allowed: ['$lookup E ok', 'search-type E ok'], denied: ['$lookup E ok'] },
  'CodeSystem/$subsumes': { query: `?system=${gender}&codeA=male&codeB=female`, allowed: ['$subsumes E ok', 'search-type E ok'], denied: ['$subsumes E ok'] },
  'CodeSystem/{p}/$subsumes': same('$subsumes E request-invalid CodeSystem×1'),
  'ConceptMap/$translate': { query: '?url=urn:none&system=urn:x&code=y', allowed: ['$translate E not-found', 'search-type E ok'], denied: ['$translate E not-found'] },
  'ConceptMap/{p}/$translate': same('$translate E request-invalid ConceptMap×1'),
  'CodeSystem/$validate-code': { query: `?url=${gender}&code=male`, allowed: ['$validate-code E ok', 'search-type E ok'], denied: ['$validate-code E ok'] },
  'CodeSystem/{p}/$validate-code': { allowed: ['read R not-found CodeSystem×1'], denied: ['read R forbidden CodeSystem×1'] },
  'ValueSet/$validate-code': { query: `?url=${genders}&system=${gender}&code=male`, allowed: ['$validate-code E ok', 'search-type E ok', 'search-type E ok'], denied: ['$validate-code E ok'] },
  'ValueSet/{p}/$validate-code': same('$validate-code E request-invalid ValueSet×1'),
  '$break-glass': { body: parameters(), ...same('$break-glass E request-invalid') },
  '$break-glass-end': { body: parameters(), ...same('$break-glass-end E request-invalid') },
  'Patient/$validate': same('$validate E request-invalid'),
  'Patient/{p}/$validate': { allowed: ['$validate E ok Patient×1', 'read R ok Patient×1'], denied: read.denied },
};

/** What a stranger's request to the authorization server leaves: by its routers' paths, and by the endpoints that it announces. */
const strangers: Readonly<Record<string, readonly string[]>> = {
  // Pages that show a stranger nothing but the way to the sign-in, and take nothing from one.
  'GET /account': [], 'POST /account': [], 'GET /apps': [], 'POST /apps': [], 'GET /smart-style.json': [], 'GET /sso/callback': [], 'GET /jwks': [], 'GET /logout': [],
  'ALL /authorize': ['token authorize E grant-refused'],
  'GET /authorize': ['token authorize E grant-refused'],
  'GET /interaction/:uid': ['login login E request-invalid'],
  'POST /interaction/:uid': ['login login E request-invalid'],
  'POST /register': ['token register E grant-refused'],
  'POST /token': ['token client_credentials E credentials-invalid'],
  'POST /introspect': ['token introspect E credentials-invalid'],
  'POST /revoke': ['token revoke E credentials-invalid'],
};

/** The same of the console. */
const consoleStrangers: Readonly<Record<string, readonly string[]>> = { 'GET /': [], 'GET /alerts': [], 'POST /alerts': [] };

/** Events of a command that succeeds, beside the command's own. */
const besides: Readonly<Record<string, readonly string[]>> = { 'audit export': ['command audit-export R ok'] };

let server: TestServer;
let all: Backend;
let narrow: Backend;
let stranger: HttpClient;
let records: AuditRecord[];
/** What was asked, in words; the events are found by the request id. */
const asked: { readonly what: string; readonly requestId: string; readonly expected: readonly string[] }[] = [];
const announced = new Set<string>();
const ofConsole = routesIn('console');

/** A record in short: kind (`rest` left out), interaction, action, outcome or error, and how many resources of which type. */
function short({ kind, interaction, action, outcome, error, entities = [] }: AuditRecord): string {
  const types = [...Map.groupBy(entities, ({ type }) => type)].map(([type, some]) => `${type}×${some.length}`).sort();
  return [...(kind === 'rest' ? [] : [kind]), interaction, action, outcome === '0' ? 'ok' : (error ?? outcome), ...types].join(' ');
}

async function askFhir(what: string, method: string, row: Row): Promise<void> {
  const callers = [['allowed', all, row.allowed], ['denied', narrow, row.denied], ['stranger', undefined, row.path === 'metadata' && method === 'GET' ? [] : [`${method.toLowerCase()} E login-required`]]] as const;
  for (const [how, caller, expected] of callers) {
    const [id, requestId] = [randomUUID(), randomUUID()];
    const filled = (text: string): string => text.replaceAll('{p}', id);
    if (caller === all) await all.call('PUT', `Patient/${id}`, filled(JSON.stringify(own)));
    const body = row.headers === form ? '' : row.body === undefined ? undefined : filled(JSON.stringify(row.body));
    const headers = { ...(body === undefined ? {} : { 'Content-Type': 'application/fhir+json' }), ...Object.fromEntries(Object.entries(row.headers ?? {}).map(([name, value]) => [name, filled(value)])), 'X-Request-Id': requestId };
    const path = filled(row.path);
    if (caller === undefined) await stranger.call(`${server.fhirUrl}${path === '' ? '' : '/'}${path}`, { method, headers, ...(body === undefined ? {} : { body }) });
    else await caller.call(method, path, body, headers);
    asked.push({ what: `${what}, ${how}`, requestId, expected });
  }
}

function pathsOf({ name, levels, types }: (typeof operations)[number]): string[] {
  const type = types === 'every' ? 'Patient' : types[0]!;
  return levels.map((level) => `${{ system: '', type: `${type}/`, instance: `${type}/{p}/` }[level]}$${name}`);
}

/** Method and path of whatever the routers of a room serve. */
function routesIn(room: string): string[] {
  const source = new URL(`../../server/${room}/`, import.meta.url).pathname;
  const texts = readdirSync(source).filter((name) => name.endsWith('.ts')).map((name) => readFileSync(join(source, name), 'utf8'));
  return texts.flatMap((text) => [...text.matchAll(/router\.(get|post|put|patch|delete|all)\('([^']+)'/g)].map(([, method, path]) => `${method!.toUpperCase()} ${path!}`));
}

async function askConsole(): Promise<void> {
  for (const route of ofConsole) {
    const [method, path] = route.split(' ') as [string, string];
    const answer = await stranger.call(`${server.baseUrl}/console${path}`, { method, ...(method === 'POST' ? { headers: form, body: 'id=x&note=y' } : {}) });
    asked.push({ what: `/console ${route}`, requestId: String(answer.headers['x-request-id']), expected: consoleStrangers[route] ?? [] });
  }
}

async function askAuth(): Promise<void> {
  for (const route of routesIn('auth')) announced.add(route);
  const issuer = `${server.baseUrl}/oauth2`;
  const discovery = (await stranger.call(`${issuer}/.well-known/openid-configuration`)).json() as Readonly<Record<string, unknown>>;
  for (const [name, url] of Object.entries(discovery)) {
    if (typeof url === 'string' && url.startsWith(`${issuer}/`)) announced.add(`${/^(authorization|end_session)_endpoint$|_uri$/.test(name) ? 'GET' : 'POST'} ${url.slice(issuer.length)}`);
  }
  for (const route of announced) {
    const [method, path] = route.split(' ') as [string, string];
    const post = method === 'POST' ? { headers: form, body: 'client_id=nobody&grant_type=client_credentials' } : {};
    const answer = await stranger.call(`${issuer}${path.replace(':uid', 'x')}`, { method: method === 'ALL' ? 'GET' : method, ...post });
    asked.push({ what: `/oauth2 ${route}`, requestId: String(answer.headers['x-request-id']), expected: strangers[route] ?? [] });
  }
}

async function askCommands(): Promise<void> {
  const [ca, cert, key] = ['ca.crt', 'client.crt', 'client.key'].map((name) => readFileSync(join(server.keysDir, 'operator', name), 'utf8')) as [string, string, string];
  const operator = new HttpClient({ ca, cert, key });
  for (const { name } of commands) {
    const who = `operator:${name}`;
    const answer = await operator.call(`${server.baseUrl}/admin/commands`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ command: name, operator: who, args: [], options: {}, files: {} }) });
    const { error } = JSON.parse(answer.body.toString().trimEnd().split('\n').at(-1)!) as { error?: { code: string } };
    asked.push({ what: `interlock ${name}`, requestId: who, expected: [`command command E ${error?.code ?? 'ok'}`, ...(error === undefined ? (besides[name] ?? []) : [])] });
  }
  operator.close();
  await stranger.call(`${server.baseUrl}/admin/commands`, { method: 'POST', body: '{}' });
}

async function askDoors(): Promise<void> {
  const partner = await addPartner(server, 'completeness');
  const known = new HttpClient({ ca: server.ca, cert: partner.cert, key: partner.key });
  for (const door of ['fax', 'script']) {
    const refused = await stranger.call(`${server.baseUrl}/channels/${door}`, { method: 'POST', body: 'x' });
    asked.push({ what: `${door}, stranger`, requestId: String(refused.headers['x-request-id']), expected: ['channel connection-refused E certificate-required'] });
    const answer = await known.call(`${server.baseUrl}/channels/${door}`, { method: 'POST', body: 'x' });
    asked.push({ what: `${door}, not understood`, requestId: `message ${String(answer.headers['x-request-id'])}`, expected: ['channel message-refused E 4'] });
  }
  known.close();
  const sender = await mllpSender(server, partner);
  await sender.send(admission({ controlId: 'C1', mrn: 'C1' }));
  await sender.send('MSH|nonsense');
  sender.close();
  await untilRouted(server);
}

beforeAll(async () => {
  server = await startTestServer();
  [all, narrow] = [await Backend.register(server), await Backend.register(server, 'system/Questionnaire.r')];
  stranger = new HttpClient({ ca: server.ca });
  await all.call('PUT', 'Patient/target', { resourceType: 'Patient', id: 'target' });
  for (const { method, path } of routeTable) {
    const row = routes[`${method} ${path}`];
    if (row !== undefined) await askFhir(`${method} ${path}`, method, row);
  }
  for (const [what, row] of Object.entries(more)) await askFhir(what, row.method, row);
  for (const operation of operations) {
    for (const path of pathsOf(operation)) {
      const row = calls[path];
      if (row !== undefined) await askFhir(path, operation.affectsState || row.body !== undefined ? 'POST' : 'GET', { ...row, path: `${path}${row.query ?? ''}` });
    }
  }
  await askAuth();
  await askConsole();
  await askDoors();
  await askCommands();
  records = (await server.cliJson<{ record: AuditRecord }[]>(['audit', 'query', '--limit', '10000'])).map(({ record }) => record);
}, 400_000);
afterAll(async () => {
  all.close();
  narrow.close();
  stranger.close();
  await server.remove();
});

describe('There is a row', () => {
  test('for each FHIR route', () => expect(Object.keys(routes)).toEqual(routeTable.map(({ method, path }) => `${method} ${path}`)));
  test('for each operation at each of its levels', () => expect(Object.keys(calls).sort()).toEqual(operations.flatMap(pathsOf).sort()));
  test('for each path of the authorization server', () => expect([...announced].sort()).toEqual(Object.keys(strangers).sort()));
  test('for each path of the console', () => expect([...ofConsole].sort()).toEqual(Object.keys(consoleStrangers).sort()));
  test('for each door', async () => expect((await server.cliJson<{ id: string }[]>(['channel', 'list'])).map(({ id }) => id).sort()).toEqual(['fax', 'hl7v2', 'script']));
  test('for each router of the HTTPS server', () => {
    const source = readFileSync(new URL('../../server/http.ts', import.meta.url), 'utf8');
    // Documents about the API itself are for whoever is signed in, and hold nothing of the record.
    expect([...source.matchAll(/app\.use\('([^']+)'/g)].map(([, path]) => path)).toEqual(['/oauth2', '/channels', '/admin', '/console', '/docs']);
  });
});

describe('Exactly the events of its row', () => {
  test('has each request', () => {
    const byKey = new Map<string, AuditRecord[]>();
    for (const record of records) {
      const key = record.kind === 'command' ? record.actor.id : record.kind === 'channel' && record.actor.kind === 'partner' ? `message ${record.channel?.messageId ?? ''}` : record.requestId;
      byKey.set(key, [...(byKey.get(key) ?? []), record]);
    }
    const found = asked.map(({ what, requestId }) => [what, (byKey.get(requestId) ?? []).map(short).sort()]);
    expect(found).toEqual(asked.map(({ what, expected }) => [what, [...expected].sort()]));
    expect(asked.length).toBeGreaterThan(250);
  });

  test('has each command its name', () => {
    expect(new Set(records.filter(({ kind, actor }) => kind === 'command' && commands.some(({ name }) => actor.id === `operator:${name}`)).map(({ actor, command }) => `${actor.id} ${command}`)))
      .toEqual(new Set(commands.map(({ name }) => `operator:${name} ${name}`)));
    expect(records.filter(({ kind, actor }) => kind === 'command' && actor.kind === 'anonymous').map(short)).toEqual(['command command E certificate-required']);
    expect(records.filter(({ kind, interaction }) => kind === 'server' && interaction === 'integrity').map(short)).toEqual(['server integrity E ok']);
  });

  test('has each token, and each message of a partner', () => {
    // One, or a second one after its end.
    for (const { clientId } of [all, narrow]) expect(new Set(records.filter(({ kind, actor }) => kind === 'token' && actor.id === clientId).map(short))).toEqual(new Set(['token client_credentials E ok']));
    const theirs = records.filter(({ actor }) => actor.id === 'completeness').map(short).sort();
    expect(theirs).toEqual([
      'channel message-received C ok', 'channel message-refused E 4', 'channel message-refused E 4', 'channel message-refused E 4',
      'create C ok Binary×1', 'create C ok Encounter×1', 'create C ok Location×1', 'create C ok Patient×1', 'create C ok Provenance×1', 'transaction E ok',
    ]);
  });
});
