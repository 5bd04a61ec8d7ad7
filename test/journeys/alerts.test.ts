import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Browser } from 'playwright-core';
import type { Alert } from '../../server/alerts/register.ts';
import { authorityPem, closeReceivers, httpsReceiver, syslogReceiver, until, type HttpsReceiver, type SyslogReceiver } from '../rooms/delivery/receivers.ts';
import { chromiumPath, Screen, startChromium } from '../support/screen.ts';
import { freePort, startTestServer, type TestServer } from '../support/server.ts';
import { codeOf, SmartSite, type User } from '../support/smart.ts';

if (chromiumPath === undefined) console.warn('Skipped: alerts from a failed sign-in to the console. No Chromium at /usr/bin/chromium.');

(chromiumPath === undefined ? describe.skip : describe)('alerts', () => {
  const directory = mkdtempSync(join(tmpdir(), 'interlock-alerts-'));
  let server: TestServer;
  let site: SmartSite;
  let browser: Browser;
  let webhook: HttpsReceiver;
  let siem: SyslogReceiver;
  let repository: SyslogReceiver;

  beforeAll(async () => {
    [webhook, siem, repository] = await Promise.all([httpsReceiver(), syslogReceiver(), syslogReceiver()]);
    const caFile = join(directory, 'ca.pem');
    writeFileSync(caFile, authorityPem);
    const port = String(await freePort());
    server = await startTestServer({
      INTERLOCK_PORT: port, INTERLOCK_BASE_URL: `https://localhost:${port}`, INTERLOCK_OUTBOUND_CA_FILE: caFile,
      INTERLOCK_ALERT_WEBHOOK_URL: `https://localhost:${webhook.port}/hook`, INTERLOCK_ALERT_SYSLOG: `localhost:${siem.port}`, INTERLOCK_ATNA_SYSLOG: `localhost:${repository.port}`,
    });
    site = new SmartSite(server);
    browser = await startChromium();
  }, 300_000);

  afterAll(async () => {
    await browser.close();
    await server.remove();
    await closeReceivers();
    rmSync(directory, { recursive: true });
  }, 30_000);

  async function openConsole(user: User): Promise<Screen> {
    const screen = await Screen.open(browser);
    await screen.page.goto(`${server.baseUrl}/console/alerts`);
    await screen.at('Sign in');
    await screen.type(user.username, user.password, codeOf(user));
    await screen.press('Sign in');
    return screen;
  }

  test('reach whoever has to know within a minute, are acknowledged on the page, and all is on record', async () => {
    const [victim, admin] = [await site.addUser('nurse'), await site.addUser('security-admin')];
    expect(await server.cliJson(['alerts', 'test'])).toMatchObject({ results: [{ target: 'webhook' }, { target: 'syslog' }] });
    const screen = await Screen.open(browser);
    await screen.page.goto(`${server.baseUrl}/console/alerts`);
    for (let attempt = 0; attempt < 5; attempt += 1) {
      await screen.page.fill('#username', victim.username);
      await screen.page.fill('#password', 'not the password');
      await screen.page.click('main button');
      await screen.page.waitForSelector('[role=alert]');
    }
    const beganMs = performance.now();
    const notices = () => webhook.requests.map(({ body }) => JSON.parse(body) as { rule: string });
    await until(() => notices().some(({ rule }) => rule === 'failed-sign-ins') && siem.messages.some((message) => message.includes('rule=failed-sign-ins ')), 60_000);
    expect(performance.now() - beganMs).toBeLessThan(60_000);
    expect(`${webhook.requests.map(({ body }) => body).join()}${siem.messages.join()}`).not.toContain(victim.username);
    await until(() => repository.messages.some((message) => message.includes('User Authentication') && message.includes(victim.username)), 60_000);

    const page = await openConsole(admin);
    await page.at('Alerts');
    expect(await page.page.textContent('main')).toContain(victim.username);
    expect(await page.look('alerts')).toEqual([]);
    const open = await server.cliJson<Alert[]>(['alerts', 'list']);
    const { id } = open.find(({ rule }) => rule === 'failed-sign-ins')!;
    await page.page.fill(`#note-${id}`, 'Forgot the <new> password');
    await page.page.click(`button[value="${id}"]`);
    await page.page.waitForURL(`${server.baseUrl}/console/alerts`);
    await page.at('Alerts');
    expect(await page.page.locator(`#note-${id}`).count()).toBe(0);
    await page.page.click('text=Acknowledged ones too');
    await page.at('Alerts');
    expect(await page.page.textContent('main')).toContain('Forgot the <new> password');
    expect(await page.look('alerts-all')).toEqual([]);
    expect(page.faults).toEqual([]);

    expect(await server.cliJson(['alerts', 'show', id])).toMatchObject({ state: 'acknowledged', acknowledged: { by: admin.username, note: 'Forgot the <new> password' }, about: { who: { id: victim.id } } });
    const events = await server.cliJson<{ event: string; outcome: string }[]>(['audit', 'query', '--agent', admin.id]);
    expect(events.map(({ event }) => event)).toEqual(expect.arrayContaining([`command alert ${id}`, 'command alerts-viewed']));
  }, 180_000);

  test('are not shown to others, and a forged form does nothing', async () => {
    const [nurse, auditor] = [await site.addUser('nurse'), await site.addUser('auditor')];
    const refused = await openConsole(nurse);
    await refused.at('Not for your role');
    const [{ id }] = (await server.cliJson<Alert[]>(['alerts', 'list'])) as [Alert];
    const allowed = await openConsole(auditor);
    await allowed.at('Alerts');
    for (const screen of [refused, allowed]) {
      const forged = await screen.page.context().request.post(`${server.baseUrl}/console/alerts`, { form: { id, note: 'x', csrf: 'forged' } });
      expect(forged.status()).toBe(403);
    }
    const answer = await (await browser.newContext({ ignoreHTTPSErrors: true })).request.post(`${server.baseUrl}/console/alerts`, { form: { id, note: 'x' } });
    expect(answer.status()).toBe(403);
    // What the nurse was shown, and each of the two forms.
    for (const [person, refusals] of [[nurse, 2], [auditor, 1]] as const) {
      const events = await server.cliJson<{ event: string; outcome: string }[]>(['audit', 'query', '--agent', person.id]);
      expect(events.filter(({ event, outcome }) => event === 'command alerts-viewed' && outcome !== 'ok')).toHaveLength(refusals);
    }
    expect(await server.cliJson(['alerts', 'show', id])).toMatchObject({ state: 'open' });
  }, 120_000);
});
