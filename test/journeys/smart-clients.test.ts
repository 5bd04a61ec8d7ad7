import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Browser } from 'playwright-core';
import { HttpClient } from '../../server/demo/http-client.ts';
import { fetchFhirclient, launchFhirclient, launchOpenidClient } from '../clients/smart.ts';
import { loadSmartFixtures } from '../conformance/smart-fixtures.ts';
import { backendCaller } from '../support/fhir.ts';
import { chromiumPath, startChromium } from '../support/screen.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { SmartSite } from '../support/smart.ts';

const fetched = mkdtempSync(join(tmpdir(), 'interlock-fhirclient-'));
const library = chromiumPath === undefined ? undefined : await fetchFhirclient(fetched).catch(() => undefined);
rmSync(fetched, { recursive: true });
if (chromiumPath === undefined) console.warn('Skipped: fhirclient in a browser. No Chromium at /usr/bin/chromium.');
else if (library === undefined) console.warn('Skipped: fhirclient in a browser. npm could not fetch it.');

let server: TestServer;
let http: HttpClient;
let site: SmartSite;

beforeAll(async () => {
  server = await startTestServer();
  http = new HttpClient({ ca: server.ca });
  site = new SmartSite(server);
  await loadSmartFixtures(await backendCaller(server, http, 'system/*.cruds'));
}, 120_000);

afterAll(async () => {
  http.close();
  await server.remove();
}, 30_000);

// `npm run clients` runs fhirclient of Python too.
test.each([['public', 'standalone'], ['confidential-secret', 'EHR'], ['asymmetric', 'standalone']] as const)('openid-client as a %s app: %s launch, read, refresh', async (kind, launch) => {
  expect(await launchOpenidClient(site, kind, launch)).toBe('openid-client: launch, read and refresh as expected');
}, 60_000);

(library === undefined ? describe.skip : describe)('fhirclient in a browser', () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await startChromium();
  }, 60_000);
  afterAll(async () => browser.close());

  test.each(['standalone', 'EHR'] as const)('%s launch, read, refresh', async (launch) => {
    expect(await launchFhirclient(site, browser, library!, launch)).toBe('fhirclient (browser): launch, read and refresh as expected');
  }, 120_000);
});
