import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { HttpClient } from '../../server/demo/http-client.ts';
import { backendToken } from '../support/fhir.ts';
import { startTestServer } from '../support/server.ts';
import { runJava, runPython, runScript } from './run.ts';

/*
 * npm run clients -- [--python PATH]
 * Starts a server and lets clients of several languages work with it. fhirpy has to be installed for the Python named
 * (python -m venv DIR && DIR/bin/pip install fhirpy); Java 17, keytool and Maven have to be on the PATH.
 */
const { values } = parseArgs({ options: { python: { type: 'string', default: 'python3' } } });
const server = await startTestServer();
const http = new HttpClient({ ca: server.ca });
const directory = mkdtempSync(join(tmpdir(), 'interlock-clients-'));
try {
  const target = { fhirUrl: server.fhirUrl, token: await backendToken(server, http, 'system/*.cruds'), ca: server.ca, directory };
  const runs: [string, () => Promise<string>][] = [
    ['fhir-kit-client', async () => runScript(target, 'fhir-kit-client')],
    ['MedplumClient', async () => runScript(target, 'MedplumClient')],
    ['fhirpy', async () => runPython(target, values.python)],
    ['hapi-fhir-client', async () => runJava(target)],
  ];
  for (const [name, run] of runs) {
    try {
      process.stdout.write(await run());
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
