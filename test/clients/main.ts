import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { HttpClient } from '../../server/demo/http-client.ts';
import { loadSmartFixtures } from '../conformance/smart-fixtures.ts';
import { backendCaller, backendToken } from '../support/fhir.ts';
import { startChromium } from '../support/screen.ts';
import { startTestServer } from '../support/server.ts';
import { SmartSite } from '../support/smart.ts';
import { runJava, runPython, runScript } from './run.ts';
import { fetchFhirclient, launchFhirclient, launchOpenidClient, launchPython } from './smart.ts';

/*
 * npm run clients -- [--python PATH]
 * Starts a server and lets clients of several languages work with it, and launch themselves. fhirpy and fhirclient have to be
 * installed for the Python named (python -m venv DIR && DIR/bin/pip install fhirpy fhirclient); Java 17, keytool and Maven have to
 * be on the PATH, and Chromium at /usr/bin/chromium.
 */
const { values } = parseArgs({ options: { python: { type: 'string', default: 'python3' } } });
const server = await startTestServer();
const http = new HttpClient({ ca: server.ca });
const directory = mkdtempSync(join(tmpdir(), 'interlock-clients-'));
try {
  const target = { fhirUrl: server.fhirUrl, token: await backendToken(server, http, 'system/*.cruds'), ca: server.ca, directory };
  const site = new SmartSite(server);
  await loadSmartFixtures(await backendCaller(server, http, 'system/*.cruds'));
  const [launches, kinds] = [['standalone', 'EHR'], ['public', 'confidential-secret', 'asymmetric']] as const;
  const runs: [string, () => Promise<string>][] = [
    ['fhir-kit-client', async () => runScript(target, 'fhir-kit-client')],
    ['MedplumClient', async () => runScript(target, 'MedplumClient')],
    ['fhirpy', async () => runPython(target, values.python)],
    ['hapi-fhir-client', async () => runJava(target)],
    ...launches.map((launch): [string, () => Promise<string>] => [`fhirclient (Python), ${launch}`, async () => launchPython(site, values.python, launch)]),
    ...launches.flatMap((launch) => kinds.map((kind): [string, () => Promise<string>] => [`openid-client, ${kind}, ${launch}`, async () => launchOpenidClient(site, kind, launch)])),
    ['fhirclient (browser)', async () => {
      const library = await fetchFhirclient(directory);
      const browser = await startChromium();
      try {
        return [await launchFhirclient(site, browser, library, 'standalone'), await launchFhirclient(site, browser, library, 'EHR')].join('\n');
      } finally {
        await browser.close();
      }
    }],
  ];
  for (const [name, run] of runs) {
    try {
      process.stdout.write(`${name}: ${(await run()).trim()}\n`);
    } catch (error) {
      process.exitCode = 1;
      const { stderr = '', stdout = '' } = error as { stderr?: string; stdout?: string };
      process.stdout.write(`${name} failed: ${error instanceof Error ? error.message : 'unknown'}\n${stdout}${stderr}\n`);
    }
  }
} finally {
  http.close();
  await server.stop();
  rmSync(directory, { recursive: true });
}
