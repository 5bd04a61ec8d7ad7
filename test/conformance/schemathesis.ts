/**
 * Sends requests made from the OpenAPI document, well-formed and not, to a server of its own: none may be answered by a 5xx or end it.
 *
 *   pip install schemathesis
 *   npx node test/conformance/schemathesis.ts [most examples per path and method]
 *
 * `SCHEMATHESIS` names the program if it is not on the path. Ends with 1 if anything was found.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HttpClient } from '../../server/demo/http-client.ts';
import { startServerProcess } from '../../server/demo/server-process.ts';
import { backendKey, backendToken } from '../../server/demo/smart-client.ts';

const examples = process.argv[2] ?? '100';
const scope = 'system/*.cruds';
const tokenRefreshMs = 120_000;

const server = await startServerProcess();
try {
  const http = new HttpClient({ ca: server.ca });
  const key = await backendKey();
  const keyFile = join(server.directory, 'jwks.json');
  writeFileSync(keyFile, JSON.stringify(key.jwks));
  const { client_id: clientId } = await server.cliJson<{ client_id: string }>(['client', 'add', '--name', 'Schemathesis', '--jwks', keyFile, '--scope', scope]);
  const tokenFile = join(server.directory, 'token');
  const refresh = async () => writeFileSync(tokenFile, (await backendToken(http, `${server.baseUrl}/oauth2/token`, clientId, key, scope)).access_token);
  await refresh();
  const timer = setInterval(() => void refresh(), tokenRefreshMs);
  const caFile = join(server.directory, 'ca.pem');
  writeFileSync(caFile, server.ca);
  const found = spawn(
    process.env['SCHEMATHESIS'] ?? 'schemathesis',
    ['run', `${server.fhirUrl}/openapi.json`, '--tls-verify', caFile, '--checks', 'not_a_server_error', '--phases', 'examples,coverage,fuzzing', '--max-examples', examples, '--continue-on-failure', '--generation-database', 'none', '--no-shrink', '--request-timeout', '30', '--suppress-health-check', 'all', '--warnings', 'off'],
    { cwd: server.directory, stdio: 'inherit', env: { ...process.env, FHIR_TOKEN_FILE: tokenFile, SCHEMATHESIS_HOOKS: join(import.meta.dirname, 'schemathesis_hooks.py') } },
  );
  const [code] = (await once(found, 'exit')) as [number | null];
  clearInterval(timer);
  const alive = await http.call(`${server.baseUrl}/readyz`);
  process.stdout.write(`schemathesis ended with ${String(code)}; the server is ${alive.status === 200 ? 'ready' : 'not ready'}\n${server.output().split('\n').filter((line) => line.includes('request failed')).slice(0, 50).join('\n')}\n`);
  process.exitCode = code === 0 && alive.status === 200 ? 0 : 1;
} finally {
  await server.remove();
}
