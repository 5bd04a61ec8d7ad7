import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { AuditEventJson } from '../audit/render/event.ts';
import { postHttps } from '../delivery/https.ts';
import type { OutboundTls } from '../delivery/outbound-tls.ts';
import { formatSyslog, sendSyslog, type SyslogServer } from '../delivery/syslog.ts';
import { dicomMessages } from './dicom.ts';

/** An audit record repository of somebody else. */
export interface Repository {
  readonly name: string;
  /** Resolves when it has all events. @returns how many it refused for good */
  send(events: readonly AuditEventJson[], signal: AbortSignal): Promise<number>;
}

/** ITI TF-2: 3.20.4.1.2.1: facility 10 (security), severity 5 (notice). */
const facility = 10;
const severity = 5;

/** Sends DICOM audit messages over TLS (https://profiles.ihe.net/ITI/TF/Volume2/ITI-20.html). */
export function syslogRepository(server: SyslogServer): Repository {
  return {
    name: 'atna-syslog',
    async send(events, signal) {
      const messages = events.flatMap((event) => dicomMessages(event).map((text) => formatSyslog({ facility, severity, atMs: Date.parse(String(event['recorded'])), msgId: 'IHE+RFC-3881', text })));
      await sendSyslog(server, messages, signal);
      return 0;
    },
  };
}

/** File of the keys directory with the bearer token for a FHIR repository, if it wants one; read for each request. */
export const tokenFile = 'atna-fhir.token';

export interface FhirRepositoryOptions {
  /** FHIR base URL of the repository. */
  readonly url: string;
  readonly keysDir: string;
  readonly tls: OutboundTls;
  /** Base URL that references of this server's resources are made absolute with. */
  readonly fhirBaseUrl: string;
}

const timeoutMs = 60_000;
/** Answers that stay the same however often one asks. */
const forGood = new Set(['400', '405', '409', '410', '412', '413', '422']);

/** Sends AuditEvents as FHIR resources: one by one create, several in a batch (ITI-20, RESTful ATNA: https://profiles.ihe.net/ITI/TF/Volume2/ITI-20.html). */
export function fhirRepository({ url, keysDir, tls, fhirBaseUrl }: FhirRepositoryOptions): Repository {
  const base = url.replace(/\/+$/, '');
  const post = async (to: string, body: object, signal: AbortSignal): Promise<{ status: string; body: Buffer }> => {
    const file = join(keysDir, tokenFile);
    const authorization: Record<string, string> = existsSync(file) ? { Authorization: `Bearer ${readFileSync(file, 'utf8').trim()}` } : {};
    const answer = await postHttps({ url: to, tls, timeoutMs, signal, body: JSON.stringify(body), headers: { 'Content-Type': 'application/fhir+json', Accept: 'application/fhir+json', ...authorization } });
    return { status: String(answer.status), body: answer.body };
  };
  return {
    name: 'atna-fhir',
    async send(events, signal) {
      const resources = events.map((event) => toForeign(event, fhirBaseUrl));
      if (resources.length === 1) return verdict((await post(`${base}/AuditEvent`, resources[0]!, signal)).status);
      const bundle = { resourceType: 'Bundle', type: 'batch', entry: resources.map((resource) => ({ resource, request: { method: 'POST', url: 'AuditEvent' } })) };
      const { status, body } = await post(base, bundle, signal);
      if (!status.startsWith('2')) throw new InterlockError('unavailable', { detail: `The audit repository answered ${status}.` });
      const statuses = statusesOf(body);
      if (statuses.length !== resources.length) throw new InterlockError('unavailable', { detail: 'The audit repository did not answer each event.' });
      return statuses.reduce((refused, one) => refused + verdict(one), 0);
    },
  };
}

/** 0: taken; 1: refused for good. @throws InterlockError `unavailable` for anything else */
function verdict(status: string): 0 | 1 {
  const code = status.slice(0, 3);
  if (code.startsWith('2')) return 0;
  if (forGood.has(code)) return 1;
  throw new InterlockError('unavailable', { detail: `The audit repository answered ${/^\d{3}$/.test(code) ? code : 'something else'}.` });
}

function statusesOf(body: Buffer): string[] {
  try {
    const { entry = [] } = JSON.parse(body.toString()) as { entry?: readonly { response?: { status?: unknown } }[] };
    return entry.map(({ response }) => String(response?.status));
  } catch {
    return [];
  }
}

/** The event as another server is to store it: without this one's id, its references absolute. */
function toForeign({ id: _, meta, ...event }: AuditEventJson, fhirBaseUrl: string): object {
  const profile = (meta as { readonly profile?: unknown } | undefined)?.profile;
  return { ...(profile === undefined ? {} : { meta: { profile } }), ...(absolute(event, fhirBaseUrl) as object) };
}

function absolute(value: unknown, fhirBaseUrl: string): unknown {
  if (Array.isArray(value)) return value.map((one) => absolute(one, fhirBaseUrl));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, name === 'reference' && typeof one === 'string' && /^[A-Z]\w*\//.test(one) ? `${fhirBaseUrl}/${one}` : absolute(one, fhirBaseUrl)]));
}
