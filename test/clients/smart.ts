import { execFile, spawn } from 'node:child_process';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Browser } from 'playwright-core';
import { startAppSite } from '../support/app-site.ts';
import { codeOf, type App, type SmartSite } from '../support/smart.ts';

const openidClient = fileURLToPath(new URL('./openid-client.ts', import.meta.url));
const run = promisify(execFile);

/** How an app comes to its patient: by itself, or from the EHR that has one open. */
export type Launch = 'standalone' | 'EHR';

const scopes = 'openid fhirUser offline_access patient/Patient.rs patient/Observation.rs user/Practitioner.rs';
const registered = `${scopes} launch launch/patient`;

/** The part of the EHR: a launch for one person, on one patient. */
async function prepared(site: SmartSite, username: string, launchUrl: string): Promise<{ readonly launch: string; readonly url: string }> {
  return site.server.cliJson<{ launch: string; url: string }>(['client', 'launch', '--user', username, '--patient', 's-ada', '--launch-url', launchUrl]);
}

/** Runs an app in a process of its own; the person in front of it is played here. @returns what it printed last */
async function runApp(site: SmartSite, { command, args, app, launch, key }: { readonly command: string; readonly args: readonly string[]; readonly app: App; readonly launch: Launch; readonly key?: string }): Promise<string> {
  const user = await site.addUser('physician', '--practitioner', 's-doctor');
  const trust = join(site.server.directory, 'trusted.pem');
  writeFileSync(trust, site.server.ca);
  const child = spawn(command, args, {
    env: {
      ...process.env, NODE_EXTRA_CA_CERTS: trust, REQUESTS_CA_BUNDLE: trust,
      FHIR_BASE: site.server.fhirUrl, CLIENT_ID: app.clientId, REDIRECT_URI: app.redirectUri, SCOPE: launch === 'EHR' ? `launch ${scopes}` : `launch/patient ${scopes}`,
      ...(app.clientSecret === undefined ? {} : { CLIENT_SECRET: app.clientSecret }), ...(key === undefined ? {} : { CLIENT_KEY: key }),
      ...(launch === 'EHR' ? { LAUNCH: (await prepared(site, user.username, 'https://app.example/launch')).launch } : {}),
    },
    timeout: 60_000,
  });
  let printed = '';
  let complained = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complained += text));
  const ended = new Promise<number | null>((resolve, reject) => child.once('error', reject).once('close', resolve));
  const url = await new Promise<string>((resolve) => {
    void ended.then(() => resolve(''), () => resolve(''));
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      printed += text;
      if (printed.includes('\n')) resolve(printed.slice(0, printed.indexOf('\n')));
    });
  });
  if (url !== '') child.stdin.end(`${(await site.walk(user, url, { patient: { name: 'sample' } })).href}\n`);
  const code = await ended;
  if (code !== 0) throw new Error(`${command} ended with ${code}: ${complained}`);
  return printed.trim().split('\n').at(-1)!;
}

/** openid-client as an app of each kind. */
export async function launchOpenidClient(site: SmartSite, kind: 'public' | 'confidential-secret' | 'asymmetric', launch: Launch): Promise<string> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
  const named = { kid: randomUUID(), alg: 'ES384' };
  const isAsymmetric = kind === 'asymmetric';
  const app = await site.addApp(isAsymmetric ? { jwks: { keys: [{ ...publicKey.export({ format: 'jwk' }), ...named, use: 'sig' }] } } : kind, registered);
  return runApp(site, { command: process.execPath, args: [openidClient], app, launch, ...(isAsymmetric ? { key: JSON.stringify({ ...privateKey.export({ format: 'jwk' }), ...named }) } : {}) });
}

/** fhirclient of PyPI, which has to be installed for that interpreter. */
export async function launchPython(site: SmartSite, python: string, launch: Launch): Promise<string> {
  return runApp(site, { command: python, args: [join(import.meta.dirname, 'smart_fhirclient.py')], app: await site.addApp('confidential-secret', registered), launch });
}

const fhirclient = { version: '2.6.3', integrity: 'sha512-CirZixcwWelbkIXxpxlNQx5+ZdJirl6F1s4y4yvA1X7hHAkr9n99aVHaMi0wX+97nATjKQ65X6NB5as/wZoJzg==' } as const;

/** The browser build of npm's fhirclient, which npm fetches into a directory. @throws whatever npm ends with, such as that there is no network */
export async function fetchFhirclient(directory: string): Promise<string> {
  const { stdout } = await run('npm', ['pack', `fhirclient@${fhirclient.version}`, '--json', '--silent', '--pack-destination', directory], { timeout: 60_000 });
  const [packed] = JSON.parse(stdout) as { readonly filename: string; readonly integrity: string }[];
  if (packed?.integrity !== fhirclient.integrity) throw new Error('this is another fhirclient');
  await run('tar', ['-xzf', join(directory, packed.filename), '-C', directory, 'package/build/fhir-client.min.js']);
  return readFileSync(join(directory, 'package', 'build', 'fhir-client.min.js'), 'utf8');
}

const pageOf = (script: string): string => `<!doctype html><html lang="en"><meta charset="utf-8"><title>App</title><script src="/fhir-client.js"></script><script>${script}</script>`;

/** npm's fhirclient in a browser: its two pages on a site of their own, across origins from the server. */
export async function launchFhirclient(site: SmartSite, browser: Browser, library: string, launch: Launch): Promise<string> {
  const files: Record<string, string> = { '/fhir-client.js': library };
  const apps = await startAppSite(files);
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  try {
    const app = await site.addApp('public', registered, `${apps.origin}/app.html`);
    const user = await site.addUser('physician', '--practitioner', 's-doctor');
    files['/launch.html'] = pageOf(`FHIR.oauth2.authorize(${JSON.stringify({ clientId: app.clientId, scope: launch === 'EHR' ? `launch ${scopes}` : `launch/patient ${scopes}`, redirectUri: '/app.html' })});`);
    files['/app.html'] = pageOf(`FHIR.oauth2.ready().then(async (client) => {
      const patient = await client.patient.read();
      const observations = await client.request('Observation?_count=1&patient=' + client.patient.id, { pageLimit: 0, flat: true });
      const user = await client.user.read();
      const first = client.state.tokenResponse.access_token;
      await client.refresh();
      const again = await client.patient.read();
      globalThis.outcome = { patient: patient.id, again: again.id, observations: observations.length, user: user.id, isRefreshed: first !== client.state.tokenResponse.access_token };
    }).catch((error) => { globalThis.outcome = { error: String(error) }; });`);
    const page = await context.newPage();
    const launchUrl = `${apps.origin}/launch.html`;
    await page.goto(launch === 'EHR' ? (await prepared(site, user.username, launchUrl)).url : `${launchUrl}?iss=${encodeURIComponent(site.server.fhirUrl)}`);
    await page.fill('#username', user.username);
    await page.fill('#password', user.password);
    await page.fill('#code', codeOf(user));
    await page.click('button[value=sign-in]');
    if (launch === 'standalone') {
      await page.fill('#name', 'sample');
      await page.click('button[value=search]');
      await page.click('button[name=patient]');
    }
    await page.click('button[value=allow]');
    const outcome = await page.waitForFunction<Record<string, unknown>>('globalThis.outcome', undefined, { timeout: 30_000 });
    const found = JSON.stringify(await outcome.jsonValue());
    if (found !== JSON.stringify({ patient: 's-ada', again: 's-ada', observations: 2, user: 's-doctor', isRefreshed: true })) throw new Error(`fhirclient: ${found}`);
    return 'fhirclient (browser): launch, read and refresh as expected';
  } finally {
    await context.close();
    await apps.close();
  }
}
