import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const here = import.meta.dirname;

/** Where clients call, and as whom. */
export interface ClientTarget {
  readonly fhirUrl: string;
  readonly token: string;
  /** The certificate authority to trust, PEM. */
  readonly ca: string;
  /** For files that live no longer than the run. */
  readonly directory: string;
}

/** Clients of JavaScript. */
export const scripts = {
  'fhir-kit-client': new URL('./fhir-kit-client.ts', import.meta.url),
  'MedplumClient': new URL('./medplum-client.ts', import.meta.url),
} as const;

/** Runs a client of JavaScript in a process of its own. @returns what it printed */
export async function runScript(target: ClientTarget, name: keyof typeof scripts): Promise<string> {
  return (await run(process.execPath, [fileURLToPath(scripts[name])], { env: environmentOf(target), timeout: 60_000 })).stdout;
}

/** Runs the Python client; fhirpy has to be installed for that interpreter. */
export async function runPython(target: ClientTarget, python: string): Promise<string> {
  return (await run(python, [join(here, 'fhirpy_client.py')], { env: environmentOf(target), timeout: 120_000 })).stdout;
}

/** Runs the Java client; Maven fetches what it needs. */
export async function runJava(target: ClientTarget): Promise<string> {
  const store = join(target.directory, 'trust.p12');
  await run('keytool', ['-importcert', '-noprompt', '-alias', 'interlock', '-file', caFile(target), '-keystore', store, '-storetype', 'PKCS12', '-storepass', 'changeit']);
  const built = join(target.directory, 'hapi-client');
  await run('mvn', ['-q', '-B', '-f', join(here, 'hapi-client', 'pom.xml'), `-DbuildDirectory=${built}`, 'compile', 'dependency:copy-dependencies'], { timeout: 600_000 });
  const trust = ['-Djavax.net.ssl.trustStorePassword=changeit', `-Djavax.net.ssl.trustStore=${store}`];
  return (await run('java', [...trust, '-cp', `${join(built, 'classes')}:${join(built, 'dependency', '*')}`, 'HapiClient'], { env: environmentOf(target), timeout: 300_000 })).stdout;
}

function caFile({ ca, directory }: ClientTarget): string {
  const path = join(directory, 'ca.pem');
  writeFileSync(path, ca);
  return path;
}

function environmentOf(target: ClientTarget): NodeJS.ProcessEnv {
  const ca = caFile(target);
  return { ...process.env, FHIR_BASE: target.fhirUrl, FHIR_TOKEN: target.token, NODE_EXTRA_CA_CERTS: ca, SSL_CERT_FILE: ca, REQUESTS_CA_BUNDLE: ca };
}
