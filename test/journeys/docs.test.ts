import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Secret, TOTP } from 'otpauth';
import { chromium, type Browser, type Page } from 'playwright-core';
import { HttpClient } from '../../server/demo/http-client.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
if (executablePath === undefined) console.warn('Skipped: the documentation in a browser. No Chromium at /usr/bin/chromium.');
/** Where pictures of the pages go, for whoever wants to look at them. */
const pictures = process.env['INTERLOCK_TEST_PICTURES'];

const person = { username: 'dev', password: 'Correct horse 4 staples!', totpSecret: new Secret({ size: 20 }).base32 };
let server: TestServer;
let http: HttpClient;

beforeAll(async () => {
  server = await startTestServer();
  http = new HttpClient({ ca: server.ca });
  await server.cliJson(['user', 'add', '--username', person.username, '--role', 'auditor', '--password-stdin', '--totp-secret', person.totpSecret], `${person.password}\n`);
}, 120_000);
afterAll(async () => {
  await server.remove();
}, 30_000);

test('the OpenAPI document is public; everything under /docs sends strangers to sign in', async () => {
  const document = await http.call(`${server.fhirUrl}/openapi.json`);
  expect([document.status, document.json()]).toMatchObject([200, { openapi: '3.1.0', servers: [{ url: server.fhirUrl }] }]);
  for (const path of ['docs', 'docs/', 'docs/swagger-ui-bundle.js', 'docs/start.js', 'docs/package.json']) {
    const answer = await http.call(`${server.baseUrl}/${path}`);
    expect([path, answer.status]).toEqual([path, 303]);
    expect(answer.headers['location']).toMatch(/\/oauth2\/authorize\?client_id=interlock-docs&/);
  }
  expect((await http.call(`${server.baseUrl}/docs/?code=x`)).status).toBe(403);
});

(executablePath === undefined ? describe.skip : describe)('in a browser', () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await chromium.launch({ executablePath: executablePath!, args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'] });
  }, 60_000);
  afterAll(async () => browser.close());

  test('who signs in with both factors sees it, under a strict policy', async () => {
    const context = await browser.newContext({ ignoreHTTPSErrors: true });
    const shown = await context.newPage();
    const faults: string[] = [];
    shown.on('console', (message) => {
      if (message.type() === 'error') faults.push(message.text());
    });
    await shown.goto(`${server.baseUrl}/docs`);
    await shown.fill('#username', person.username);
    await shown.fill('#password', person.password);
    await shown.fill('#code', new TOTP({ secret: Secret.fromBase32(person.totpSecret) }).generate());
    await shown.click('button[value=sign-in]');
    await shown.waitForURL(`${server.baseUrl}/docs/`);
    await shown.getByText('Read the current version').waitFor({ timeout: 30_000 });
    expect(faults).toEqual([]);
    await picture(shown, 'desktop-light', { width: 1280, height: 900 }, 'light');
    await picture(shown, 'desktop-dark', { width: 1280, height: 900 }, 'dark');
    await picture(shown, 'phone-dark', { width: 375, height: 740 }, 'dark');
    expect(await shown.evaluate('document.documentElement.scrollWidth <= innerWidth')).toBe(true);
    await shown.getByText('Read the current version').click();
    await shown.getByText('If-None-Match').first().waitFor();
    expect(faults).toEqual([]);
    await context.close();
  }, 120_000);
});

async function picture(shown: Page, name: string, size: { width: number; height: number }, colorScheme: 'light' | 'dark'): Promise<void> {
  await shown.setViewportSize(size);
  await shown.emulateMedia({ colorScheme });
  if (pictures !== undefined) await shown.screenshot({ path: `${pictures}/docs-${name}.png` });
}
