import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { chromium, type Browser, type Page } from 'playwright-core';
import { addPerson, startAuth, type TestAuth, type TestPerson } from './support.ts';

const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
const withBrowser = executablePath === undefined ? test.skip : test;
if (executablePath === undefined) console.warn('Skipped: passkeys in a browser. No Chromium at /usr/bin/chromium.');
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

let server: TestAuth;
let browser: Browser | undefined;

beforeAll(async () => {
  server = await startAuth({ maxFailuresPerMinute: 10_000 });
  if (executablePath !== undefined) browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu', `--ignore-certificate-errors`] });
});
afterAll(async () => {
  await browser?.close();
  await server.close();
});

/** A browser with a virtual authenticator that verifies its user (https://www.w3.org/TR/webauthn-3/#sctn-automation). */
async function openPage(width = 1280): Promise<Page> {
  const context = await browser!.newContext({ ignoreHTTPSErrors: true, viewport: { width, height: 800 } });
  const page = await context.newPage();
  const cdp = await context.newCDPSession(page);
  await cdp.send('WebAuthn.enable');
  await cdp.send('WebAuthn.addVirtualAuthenticator', { options: { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true } });
  return page;
}

async function serious(page: Page): Promise<string[]> {
  // By the debugger, which the page's policy does not concern.
  await page.evaluate(axe);
  const { violations } = await page.evaluate<{ violations: { id: string; impact: string }[] }>('axe.run()');
  return violations.filter(({ impact }) => impact === 'serious' || impact === 'critical').map(({ id }) => id);
}

async function signInWithCode(page: Page, person: TestPerson): Promise<void> {
  await page.goto(`${server.issuer}/account`);
  await page.fill('#username', person.username);
  await page.fill('#password', person.password);
  await page.fill('#code', person.code());
  await page.keyboard.press('Enter');
  await page.waitForSelector('h1:has-text("Security settings")');
}

withBrowser('a passkey is added, signs in alone and as second factor, and is removed', async () => {
  const person = await addPerson(server);
  const page = await openPage(360);
  const complaints: string[] = [];
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error') complaints.push(message.text());
  });
  await page.goto(`${server.issuer}/account`);
  expect(await serious(page)).toEqual([]);
  await signInWithCode(page, person);
  expect(await serious(page)).toEqual([]);
  await page.click('button:has-text("Add a passkey")');
  await page.fill('#name', 'Ward laptop');
  expect(await serious(page)).toEqual([]);
  await page.click('button:has-text("Make the passkey")');
  await page.waitForSelector('strong:has-text("Ward laptop")');
  expect((await server.auth.people.security(person.id))!.passkeys).toMatchObject([{ name: 'Ward laptop' }]);

  // Alone: its user is verified, which makes two factors.
  await page.context().clearCookies();
  await page.goto(`${server.issuer}/account`);
  await page.click('button:has-text("Use a passkey")');
  // Somebody added a passkey: they are told.
  await page.waitForSelector('h1:has-text("Before you go on")');
  expect(await serious(page)).toEqual([]);
  await page.keyboard.press('Enter');
  await page.waitForSelector('small:has-text("by passkey")');
  const [passkey] = (await server.auth.people.security(person.id))!.passkeys;
  expect(passkey!.counter).toBeGreaterThan(1);

  // As second factor; a wrong password is not made good by it.
  for (const [password, heading] of [['Wrong-Horse-7-Staple', 'Sign in'], [person.password, 'Security settings']] as const) {
    await page.context().clearCookies();
    await page.goto(`${server.issuer}/account`);
    await page.fill('#username', person.username);
    await page.fill('#password', password);
    await page.click('button:has-text("Use a passkey")');
    await page.waitForSelector(heading === 'Sign in' ? '[role=alert]' : `h1:has-text("${heading}")`);
    expect(await page.textContent('h1')).toBe(heading);
  }
  expect((await server.records()).filter(({ actor }) => actor.id === person.id).map(({ interaction, outcome }) => `${interaction} ${outcome}`).filter((line) => line.startsWith('login'))).toEqual(['login 0', 'login 0', 'login 4', 'login 0']);

  await page.click('button:has-text("Remove")');
  await page.waitForSelector('p:has-text("None.")');
  await page.context().clearCookies();
  await page.goto(`${server.issuer}/account`);
  await page.click('button:has-text("Use a passkey")');
  await page.waitForSelector('[role=alert]');
  expect(complaints.filter((text) => !text.includes('401'))).toEqual([]);
  await page.context().close();
});

withBrowser('an answer counts once, and not for another challenge or sign-in', async () => {
  const person = await addPerson(server);
  const page = await openPage();
  await signInWithCode(page, person);
  await page.click('button:has-text("Add a passkey")');
  await page.click('button:has-text("Make the passkey")');
  await page.waitForSelector('strong:has-text("Passkey")');
  await page.context().clearCookies();
  await page.goto(`${server.issuer}/account`);
  const bodies: string[] = [];
  page.on('request', (request) => {
    if (request.method() === 'POST') bodies.push(request.postData() ?? '');
  });
  await page.click('button:has-text("Use a passkey")');
  await page.waitForSelector('h1:has-text("Before you go on")');
  const answer: unknown = JSON.parse(new URLSearchParams(bodies[0]).get('passkey')!);
  const challenge = (JSON.parse(Buffer.from((answer as { response: { clientDataJSON: string } }).response.clientDataJSON, 'base64url').toString()) as { challenge: string }).challenge;
  // Even with its own challenge: the counter has moved on.
  expect(await server.auth.people.signInByPasskey({ challenge, answer })).toMatchObject({ failure: 'passkey' });
  expect(await server.auth.people.signInByPasskey({ challenge: 'another', answer })).toMatchObject({ failure: 'passkey' });
  expect(await server.auth.people.signInByPasskey({ challenge, answer: { id: 'x' } })).toMatchObject({ failure: 'unknown-user' });
  await server.auth.people.disable(person.username);
  expect(await server.auth.people.signInByPasskey({ challenge, answer })).toMatchObject({ failure: 'disabled' });
  await page.context().close();
});
