import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Secret, TOTP } from 'otpauth';
import type { Browser } from 'playwright-core';
import { HttpClient } from '../../server/demo/http-client.ts';
import { loadSmartFixtures } from '../conformance/smart-fixtures.ts';
import { startAppSite, type AppSite } from '../support/app-site.ts';
import { backendCaller } from '../support/fhir.ts';
import { chromiumPath, Screen, startChromium } from '../support/screen.ts';
import { freePort, startTestServer, type TestServer } from '../support/server.ts';
import { codeOf, SmartSite, type App, type User } from '../support/smart.ts';

if (chromiumPath === undefined) console.warn('Skipped: the pages in a browser. No Chromium at /usr/bin/chromium.');

const scope = 'openid fhirUser launch/patient launch/encounter offline_access patient/Patient.rs patient/Observation.rs patient/Condition.rs patient/MedicationRequest.cu';

(chromiumPath === undefined ? describe.skip : describe)('pages for people, by keyboard alone', () => {
  let server: TestServer;
  let http: HttpClient;
  let site: SmartSite;
  let apps: AppSite;
  let app: App;
  let browser: Browser;

  beforeAll(async () => {
    // Passkeys belong to a name, never to an address.
    const port = String(await freePort());
    server = await startTestServer({ INTERLOCK_PORT: port, INTERLOCK_BASE_URL: `https://localhost:${port}` });
    http = new HttpClient({ ca: server.ca });
    site = new SmartSite(server);
    await loadSmartFixtures(await backendCaller(server, http, 'system/*.cruds'));
    apps = await startAppSite({ '/callback': '<!doctype html><title>App</title>' });
    app = await site.addApp('public', 'openid fhirUser launch/patient launch/encounter offline_access patient/*.cruds user/*.rs', `${apps.origin}/callback`);
    browser = await startChromium();
  }, 300_000);

  afterAll(async () => {
    await browser.close();
    await apps.close();
    http.close();
    await server.remove();
  }, 30_000);

  async function signIn(screen: Screen, user: User): Promise<void> {
    await screen.at('Sign in');
    await screen.type(user.username, user.password, codeOf(user));
    await screen.press('Sign in');
  }

  /** Where the app was called back. */
  async function calledBack(screen: Screen): Promise<URL> {
    await screen.page.waitForURL(`${apps.origin}/**`);
    return new URL(screen.page.url());
  }

  test('a newcomer sets up both factors, launches an app, manages what was set up and signs out', async () => {
    const [username, first, password] = ['newcomer', 'Correct-Horse-7-Staple', 'Wrong-Camel-8-Paperclip'];
    await server.cliJson(['user', 'add', '--username', username, '--role', 'physician', '--practitioner', 's-doctor', '--set-up-later', '--password-stdin'], `${first}\n`);
    const screen = await Screen.open(browser);
    const { page } = screen;
    await page.goto(site.request(app, scope).url.href);
    await screen.at('Sign in');
    expect(await screen.look('01-sign-in')).toEqual([]);
    await screen.type(username, 'not the password');
    await screen.press('Sign in');
    await page.waitForSelector('[role=alert]');
    expect(await screen.look('02-sign-in-failed')).toEqual([]);
    await screen.type(first);
    await screen.press('Sign in');

    await screen.at('Set up your second factor');
    const secret = (await page.textContent('.secret'))!;
    expect(await screen.look('03-second-factor')).toEqual([]);
    await screen.type('000000');
    await screen.press('Continue');
    await page.waitForSelector('[role=alert]');
    expect(await screen.look('04-second-factor-failed')).toEqual([]);
    await screen.type(new TOTP({ secret: Secret.fromBase32(secret.replaceAll(' ', '')) }).generate());
    await screen.press('Continue');
    await screen.at('Your recovery codes');
    const codes = await page.locator('.codes code').allTextContents();
    expect(await screen.look('05-recovery-codes')).toEqual([]);
    await screen.press('I have saved them');

    await screen.at('Choose a new password');
    expect(await screen.look('06-new-password')).toEqual([]);
    await screen.type(first, 'Password1234!', 'Password1234!');
    await screen.press('Continue');
    await page.waitForSelector('[role=alert]');
    expect(await screen.look('07-new-password-refused')).toEqual([]);
    await screen.type(first, password, password);
    await screen.press('Continue');
    await screen.at('Before you go on');
    expect(await screen.look('08-notices')).toEqual([]);
    await screen.press('Continue');

    await screen.at('Choose a patient');
    expect(await screen.look('09-patient')).toEqual([]);
    await screen.type('sa');
    await screen.press('Search');
    await page.waitForSelector('[role=alert]');
    expect(await screen.look('10-patient-too-wide')).toEqual([]);
    await page.keyboard.press('Control+A');
    await screen.type('sample');
    await screen.press('Search');
    await page.waitForSelector('.result');
    expect(await screen.look('11-patient-found')).toEqual([]);
    await screen.press('ada Sample');
    await screen.at('Choose a visit');
    expect(await screen.look('12-visit')).toEqual([]);
    await screen.type('01012020');
    await screen.press('Search');
    await page.waitForSelector('.result');
    expect(await screen.look('13-visit-found')).toEqual([]);
    await screen.press('Outpatient visit');

    await screen.at('Allow Growth Chart?');
    expect(await screen.look('14-consent')).toEqual([]);
    await screen.press('Only some kinds');
    await screen.press('Vital signs', 'Space');
    await screen.press('Add and change prescriptions', 'Space');
    expect(await screen.look('15-consent-some')).toEqual([]);
    await screen.press('Allow');
    expect((await calledBack(screen)).searchParams.get('code')).toMatch(/\S/);

    await page.goto(`${site.issuer}/apps`);
    await screen.at('Apps with access');
    expect(await screen.look('16-apps')).toEqual([]);
    await screen.press('What it may do');
    expect(await screen.look('17-apps-open')).toEqual([]);
    await page.goto(`${site.issuer}/account`);
    await screen.at('Security settings');
    await screen.press('Add a passkey');
    await screen.at('Add a passkey');
    expect(await screen.look('18-passkey')).toEqual([]);
    await screen.press('Make the passkey');
    await page.waitForSelector('text=Added');
    expect(await screen.look('19-account')).toEqual([]);
    await screen.press('Sign out');
    await screen.at('Sign out?');
    expect(await screen.look('20-sign-out')).toEqual([]);
    await screen.press('Sign out');
    await screen.at('Done');
    expect(await screen.look('21-signed-out')).toEqual([]);

    await page.goto(`${site.issuer}/account`);
    await screen.press('Use a passkey');
    await screen.at('Before you go on');
    await screen.press('Continue');
    await screen.at('Security settings');

    const elsewhere = await Screen.open(browser);
    await elsewhere.page.goto(`${site.issuer}/account`);
    await elsewhere.type(username, password);
    await elsewhere.press('Use a recovery code');
    await elsewhere.page.keyboard.press('Tab');
    await elsewhere.type(codes[0]!);
    expect(await elsewhere.look('22-sign-in-recovery')).toEqual([]);
    await elsewhere.press('Sign in');
    await elsewhere.at('Before you go on');
    await elsewhere.press('Continue');
    await elsewhere.at('Security settings');
    expect(await elsewhere.look('23-two-sessions')).toEqual([]);
    const ended = elsewhere.page.waitForEvent('domcontentloaded');
    await elsewhere.press('End the session');
    await ended;
    await page.goto(`${site.issuer}/account`);
    await screen.at('Sign in');

    await elsewhere.page.goto(`${site.issuer}/apps`);
    await elsewhere.press('End access of Growth Chart');
    await elsewhere.page.waitForSelector('text=No app has access');
    expect(await elsewhere.look('24-no-apps')).toEqual([]);
    expect([...screen.faults, ...elsewhere.faults]).toEqual([]);
    await screen.close();
    await elsewhere.close();
  }, 400_000);

  test('who acts for somebody chooses whose record, unticks what is not wanted, is not asked again, and ends it', async () => {
    const proxy = await site.addUser('patient', '--related-person', 's-kin', '--proxy-for', 's-ada', '--proxy-for', 's-ben');
    const screen = await Screen.open(browser);
    const { page } = screen;
    const granted = 'launch/patient patient/Patient.rs patient/Observation.rs user/Practitioner.rs';
    const asking = 'launch/patient offline_access patient/Patient.rs patient/Observation.rs patient/Coverage.rs user/Practitioner.rs';
    const grantedScope = async (verifier: string): Promise<unknown> => {
      const { body } = await site.token(app, { grant_type: 'authorization_code', code: (await calledBack(screen)).searchParams.get('code')!, redirect_uri: app.redirectUri, code_verifier: verifier });
      return body['scope'];
    };
    const first = site.request(app, asking);
    await page.goto(first.url.href);
    await signIn(screen, proxy);
    await screen.at('Whose record?');
    expect(await screen.look('30-whose-record')).toEqual([]);
    await screen.press('ben Otherman');
    await screen.at('Allow Growth Chart?');
    const told = await screen.text();
    for (const words of ['ben Otherman', 'on behalf of the patient', 'Read measurements and test results\n2 records at present', 'Read insurance coverage\nNo records at present']) expect(told).toContain(words);
    await screen.press('Read insurance coverage', 'Space');
    await screen.press('Keep this access', 'Space');
    expect(await screen.look('31-consent-on-behalf')).toEqual([]);
    await screen.press('Allow');
    expect(await grantedScope(first.verifier)).toBe(granted);

    // The same again is answered as before; more is asked.
    const again = site.request(app, asking);
    await page.goto(again.url.href);
    await screen.press('ben Otherman');
    expect(await grantedScope(again.verifier)).toBe(granted);
    await page.goto(site.request(app, `${asking} patient/Goal.rs`).url.href);
    await screen.press('ben Otherman');
    await screen.at('Allow Growth Chart?');

    await page.goto(`${site.issuer}/apps`);
    await screen.press('What it may do');
    expect(await screen.text()).toContain('Read measurements and test results');
    await server.cliJson(['client', 'revoke', app.clientId, '--user', proxy.username]);
    await page.reload();
    expect(await screen.text()).toContain('No app has access.');
    await page.goto(site.request(app, asking).url.href);
    await screen.press('ben Otherman');
    await screen.at('Allow Growth Chart?');
    await screen.press('Don’t allow');
    expect((await calledBack(screen)).searchParams.get('error')).toBe('access_denied');
    await screen.close();
  }, 400_000);

  test('what cannot be answered is said plainly', async () => {
    const screen = await Screen.open(browser);
    await screen.page.goto(site.request(app, scope, { redirect_uri: 'https://elsewhere.example/' }).url.href);
    await screen.at('This did not work');
    expect(await screen.look('40-not-registered')).toEqual([]);
    await screen.page.goto(`${site.issuer}/interaction/none`);
    await screen.at('This did not work');
    expect(await screen.look('41-too-old')).toEqual([]);
    await screen.close();
  }, 60_000);
});
