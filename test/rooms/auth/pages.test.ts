import { existsSync, mkdirSync } from 'node:fs';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { chromium, type Browser, type Page } from 'playwright-core';
import { addPerson, authorizationUrl, redeem, startAuth, type TestAuth } from './support.ts';

const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
const withBrowser = executablePath === undefined ? test.skip : test;
if (executablePath === undefined) console.warn('Skipped: the sign-in pages in a browser. No Chromium at /usr/bin/chromium.');
/** Set to keep pictures of the pages. */
const pictures = process.env['INTERLOCK_TEST_PICTURES'];

let server: TestAuth;
let browser: Browser | undefined;
let app: string;
/** The app: a server of its own, on another origin. */
let appServer: https.Server;
let redirectUri: string;
let posted: string | undefined;

beforeAll(async () => {
  server = await startAuth();
  if (executablePath !== undefined) browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'] });
  appServer = https.createServer(server.pki.tlsOptions('none'), (request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (part: string) => (body += part)).on('end', () => {
      if (request.method === 'POST') posted = body;
      response.setHeader('content-type', 'text/html').end('<!doctype html><title>App</title><link rel="icon" href="data:,">');
    });
  });
  await new Promise<void>((resolve) => appServer.listen(0, '127.0.0.1', resolve));
  redirectUri = `https://localhost:${(appServer.address() as AddressInfo).port}/callback`;
  ({ clientId: app } = await server.auth.clients.addClient({ name: 'Growth Chart', type: 'public', redirectUris: [redirectUri], scope: 'openid fhirUser launch/patient offline_access patient/*.cruds user/*.rs' }));
});
afterAll(async () => {
  await browser?.close();
  appServer.closeAllConnections();
  await new Promise((resolve) => appServer.close(resolve));
  await server.close();
});

const scope = 'openid fhirUser launch/patient offline_access patient/Patient.read patient/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|vital-signs patient/MedicationRequest.rs patient/Appointment.cu';

async function open(width: number, colorScheme: 'light' | 'dark'): Promise<{ page: Page; complaints: string[] }> {
  const context = await browser!.newContext({ ignoreHTTPSErrors: true, viewport: { width, height: 800 }, colorScheme, deviceScaleFactor: 1 });
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('console', (message) => complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(error.message));
  return { page, complaints };
}

async function picture(page: Page, name: string): Promise<void> {
  if (pictures === undefined) return;
  mkdirSync(pictures, { recursive: true });
  await page.screenshot({ path: join(pictures, `${name}.png`), fullPage: true });
}

/** Relative luminance contrast of two CSS colours (WCAG 2.2, 1.4.3). */
function contrast(a: string, b: string): number {
  const luminance = (color: string): number => {
    const [red, green, blue] = color.match(/\d+(\.\d+)?/g)!.map((part) => Number(part) / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red! + 0.7152 * green! + 0.0722 * blue!;
  };
  const [light, dark] = [luminance(a), luminance(b)].sort((x, y) => y - x);
  return (light! + 0.05) / (dark! + 0.05);
}

/** Runs in the page: colour of every text and of what is behind it. */
const inkAndGround = `[...document.querySelectorAll('h1,p,label,small,code,button,strong')].map((element) => {
  let behind = element;
  while (behind.parentElement !== null && getComputedStyle(behind).backgroundColor === 'rgba(0, 0, 0, 0)') behind = behind.parentElement;
  return [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor];
})`;

describe('pages in a browser', () => {
  for (const [width, colorScheme] of [[360, 'light'], [360, 'dark'], [1280, 'light'], [1280, 'dark']] as const) {
    withBrowser(`sign-in and consent with the keyboard only: ${width} pixels, ${colorScheme}`, async () => {
      const person = await addPerson(server);
      const { page, complaints } = await open(width, colorScheme);
      const { url, verifier } = await authorizationUrl(server, app, { redirect_uri: redirectUri, scope });
      await page.goto(url.href);
      expect(await page.title()).toBe('Sign in – Interlock');
      await picture(page, `sign-in-${width}-${colorScheme}`);

      const look = async (): Promise<void> => {
        // Nothing sticks out to the right, every field has a label, every text can be read.
        expect(await page.evaluate('document.documentElement.scrollWidth <= window.innerWidth')).toBe(true);
        expect(await page.evaluate("[...document.querySelectorAll('input:not([type=hidden])')].every((input) => input.labels.length === 1)")).toBe(true);
        const colors = await page.evaluate<readonly (readonly [string, string])[]>(inkAndGround);
        expect(Math.min(...colors.map(([ink, ground]) => contrast(ink, ground)))).toBeGreaterThanOrEqual(4.5);
      };
      await look();

      // The cursor is in the first field.
      await page.keyboard.type(person.username);
      await page.keyboard.press('Tab');
      await page.keyboard.type('Wrong-Horse-7-Staple');
      await page.keyboard.press('Tab');
      await page.keyboard.type('000000');
      await page.keyboard.press('Enter');
      await page.waitForSelector('[role=alert]');
      await picture(page, `wrong-${width}-${colorScheme}`);
      await look();
      expect([await page.inputValue('#username'), await page.inputValue('#password')]).toEqual([person.username, '']);

      await page.keyboard.type(person.password);
      await page.keyboard.press('Tab');
      await page.keyboard.type(person.code());
      await page.keyboard.press('Enter');
      await page.waitForSelector('fieldset');
      expect(await page.title()).toBe('Allow Growth Chart? – Interlock');
      await picture(page, `consent-${width}-${colorScheme}`);
      await look();

      // Untick what stands first, and go on to the button.
      await page.keyboard.press('Tab');
      await page.keyboard.press('Space');
      const unticked = await page.inputValue(':focus');
      while ((await page.evaluate('document.activeElement.textContent')) !== 'Allow') await page.keyboard.press('Tab');
      await picture(page, `focus-${width}-${colorScheme}`);
      await page.keyboard.press('Enter');
      await page.waitForURL(`${redirectUri}**`);
      const tokens = await redeem(server, app, new URL(page.url()).searchParams.get('code')!, verifier, {}, redirectUri);
      const granted = String(tokens.body['scope']).split(' ');
      expect(granted).toEqual(scope.split(' ').filter((asked) => asked !== unticked));
      expect(granted).toHaveLength(scope.split(' ').length - 1);
      // No stylesheet was blocked, no error was logged, but for the status of the failed sign-in.
      expect(complaints.filter((text) => !text.includes('401'))).toEqual([]);
      await page.context().close();
    });
  }

  withBrowser('saying no, errors, signing out', async () => {
    const { page } = await open(360, 'light');
    const { url } = await authorizationUrl(server, app, { redirect_uri: redirectUri, scope });
    await page.goto(url.href);
    await page.click('button:has-text("Cancel")');
    await page.waitForURL(`${redirectUri}**`);
    expect(new URL(page.url()).searchParams.get('error')).toBe('access_denied');

    await page.goto((await authorizationUrl(server, app, { redirect_uri: 'https://evil.example/' })).url.href);
    expect(await page.textContent('main')).toContain('not registered');
    await picture(page, 'error');

    const nurse = await addPerson(server, { role: 'nurse' });
    await page.goto((await authorizationUrl(server, app, { redirect_uri: redirectUri, scope: `${scope} user/Patient.rs` })).url.href);
    await page.fill('#username', nurse.username);
    await page.fill('#password', nurse.password);
    await page.fill('#code', nurse.code());
    await page.click('button:has-text("Sign in")');
    // Who is no patient looks one up.
    await page.waitForSelector('input[name=name]');
    await picture(page, 'picker');

    await page.goto(`${server.issuer}/logout`);
    await picture(page, 'sign-out');
    await page.click('button:has-text("Sign out")');
    await page.waitForURL('**/logout/success**');
    expect(await page.textContent('h1')).toBe('Done');
    await page.context().close();
  });

  withBrowser('response_mode=form_post gets to the app', async () => {
    const { page } = await open(1280, 'light');
    const person = await addPerson(server);
    const { url } = await authorizationUrl(server, app, { redirect_uri: redirectUri, scope: 'patient/Patient.read', response_mode: 'form_post' });
    await page.goto(url.href);
    await page.fill('#username', person.username);
    await page.fill('#password', person.password);
    await page.fill('#code', person.code());
    await page.keyboard.press('Enter');
    await page.waitForSelector('fieldset');
    await page.click('button:text-is("Allow")');
    await page.waitForURL(redirectUri);
    expect(new URLSearchParams(posted ?? '').get('code')).toEqual(expect.any(String));
    await page.context().close();
  });
});
