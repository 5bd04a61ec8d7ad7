import { z } from 'zod';

/** One option: how it is written, what it means unless set, and what for. */
interface Option<T> {
  readonly schema: z.ZodType<T>;
  /** What is accepted, in words that complete "must be". */
  readonly form: string;
  readonly default: T;
  readonly doc: string;
  /** Environment variable, where it is not `INTERLOCK_` and the option's name. */
  readonly env?: string;
}

const option = <T>(schema: z.ZodType<T>, form: string, fallback: NoInfer<T>, doc: string, env?: string): Option<T> => ({ schema, form, default: fallback, doc, ...(env !== undefined && { env }) });

const text = (fallback: string, doc: string) => option(z.string().min(1).max(1_024), 'a text', fallback, doc);

const optionalText = (doc: string) => option<string | undefined>(z.string().min(1).max(4_096).optional(), 'a text', undefined, doc);

/** From the environment as decimal digits only. */
const wholeNumber = (min: number, max: number) => z.preprocess((value) => (typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : value), z.int().min(min).max(max));

const integer = (min: number, max: number, fallback: number, doc: string) => option(wholeNumber(min, max), `a whole number from ${min} to ${max}`, fallback, doc);

const flag = (fallback: boolean, doc: string) =>
  option(z.preprocess((value) => (value === 'true' ? true : value === 'false' ? false : value), z.boolean()), 'true or false', fallback, doc);

const hosts = (doc: string) =>
  option<readonly string[]>(z.preprocess((value) => (typeof value === 'string' ? value.toLowerCase().split(/[\s,]+/).filter(Boolean) : value), z.array(z.string().regex(/^[a-z0-9.:-]{1,253}$/)).max(50)), 'host names, separated by commas', [], doc);

/** From the environment as `Organization/id=deny`, separated by commas. */
const verdicts = (doc: string) =>
  option<readonly (readonly [string, 'permit' | 'deny'])[]>(
    z.preprocess((value) => (typeof value === 'string' ? value.split(/[\s,]+/).filter(Boolean).map((one) => one.split('=')) : typeof value === 'object' && value !== null ? Object.entries(value) : value),
      z.array(z.tuple([z.string().regex(/^Organization\/[A-Za-z0-9.-]{1,64}$/), z.enum(['permit', 'deny'])])).max(1_000)),
    'organisations with permit or deny, such as Organization/a=deny, separated by commas', [], doc);

const mongoUri = (env: string, doc: string) => option<string | undefined>(z.string().regex(/^mongodb(?:\+srv)?:\/\/.{1,4096}$/).optional(), 'a mongodb:// or mongodb+srv:// URI', undefined, doc, env);

const syslogServer = (doc: string) => option<string | undefined>(z.string().regex(/^(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]{1,253}):[1-9]\d{0,4}$/).optional(), 'a host with a port, such as siem.example:6514', undefined, doc);

const logLevels = ['fatal', 'error', 'warn', 'info', 'debug'] as const;

const minuteS = 60;
const hourS = 60 * minuteS;
const dayS = 24 * hourS;
const MB = 1_000_000;

/**
 * Every option of the server. The environment variable of `maxPageCount` is `INTERLOCK_MAX_PAGE_COUNT`; in the configuration
 * file the option's own name is used. What weakens a protection is called `allowInsecure…`.
 */
export const options = {
  dataDir: text('./data', 'Directory of everything that is kept: the embedded database, the public part of the PKI.'),
  keysDir: text('./keys', 'Directory of the secrets: master key, CA key, database passwords. Must be outside the data directory, and so outside its backups.'),
  host: text('127.0.0.1', 'Address that all listeners bind.'),
  port: integer(1, 65_535, 8_443, 'HTTPS port: FHIR, OAuth, console, fax and script channels.'),
  baseUrl: option<string | undefined>(
    z.url({ protocol: /^https$/ }).regex(/^[^?#]*$/).transform((url) => url.replace(/\/+$/, '')).optional(),
    'an https:// URL without query', undefined, 'URL under which clients reach this server. Default: `https://` with host and port.',
  ),
  mllpPort: integer(1, 65_535, 2_575, 'Port of the `hl7v2` channel (MLLP over mutual TLS).'),
  mongodbUri: mongoUri('MONGODB_URI', 'Database of the data. Absent: the embedded mongod.'),
  auditMongodbUri: mongoUri('AUDIT_MONGODB_URI', 'Database of the audit trail, with a user that may only insert and find. Set it if and only if `MONGODB_URI` is set.'),
  rolesFile: optionalText('JSON file of roles beside, or in place of, those that Interlock ships. Read at start; a mistake in it is a refusal to start.'),
  mongod: optionalText('The mongod program to embed. Absent: found on the PATH or fetched.'),
  mongodPort: option<number | undefined>(wholeNumber(1, 65_535).optional(), 'a whole number from 1 to 65535', undefined, 'Port of the embedded mongod, on loopback only. Absent: a free one, kept from then on.'),
  allowInsecureMongo: flag(false, 'Accept database URIs without TLS or without certificate checks.'),
  kms: option(z.string().regex(/^(?:local|aws|gcp|azure|vault):\S{0,1024}$/), 'local:, or aws:, gcp:, azure: or vault: with a key\'s name', 'local:', 'Who holds the master key. `local:` keeps it in the keys directory.'),
  workers: integer(1, 64, 1, 'Server processes on this machine.'),
  logLevel: option(z.enum(logLevels), logLevels.join(', '), 'info', 'Least severity that is logged. No level logs content.'),
  zone: option(z.string().refine(isTimeZone), 'an IANA time zone name', 'UTC', 'Time zone of dates without one, in searches and in messages.'),
  maxResourceSizeBytes: integer(1_000, 10 * MB, 10 * MB, 'Largest resource.'),
  maxBinarySizeBytes: integer(1_000, 1_000 * MB, 200 * MB, 'Largest content of a Binary that is sent in its own format.'),
  maxBundleSizeBytes: integer(1_000, 100 * MB, 50 * MB, 'Largest batch or transaction Bundle.'),
  maxBundleEntries: integer(1, 5_000, 5_000, 'Most entries of a batch or transaction.'),
  defaultPageCount: integer(1, 1_000, 50, 'Matches on a page when a search names no `_count`.'),
  maxPageCount: integer(1, 1_000, 1_000, 'Most matches on a page.'),
  conditionalDelete: option(z.enum(['single', 'multiple']), 'single or multiple', 'single', 'Whether a delete by criteria may delete several resources (at most 1,000), or is refused if it matches more than one.'),
  wordIndex: flag(false, 'Whether the words of resources are indexed, so that `_text` and `_content` need not open every candidate. It tells someone who holds the database which resources share a word, and multiplies the number of tokens. What is stored already is indexed in the background; `interlock index status` shows how far.'),
  referenceIntegrity: option(z.enum(['off', '400', '422']), 'off, 400 or 422', '422', 'How a resource is refused that refers to one that does not exist. Unless it is `off`, what others refer to cannot be deleted (409).'),
  profileValidation: option(z.enum(['off', 'warn', 'enforce']), 'off, warn or enforce', 'warn', 'Shipped profiles that a written resource claims in `meta.profile`, and shipped definitions of its extensions: not checked; told to callers who prefer an OperationOutcome as answer; or must hold (422).'),
  consentDefault: option(z.enum(['permit', 'deny']), 'permit or deny', 'permit', 'What holds for patients of whom no Consent says anything: `permit` where they can opt out, `deny` where they must opt in.'),
  consentOrganizations: verdicts('Organisations that differ: what a Consent that names one as its organization says as long as it says nothing itself, such as `Organization/a=deny`.'),
  writeInvariants: flag(false, 'Evaluate the invariants of FHIR\'s own types on each write (422), not only in `$validate`.'),
  ssoFile: optionalText('JSON file of the hospital\'s sign-on (OpenID Connect); see docs/operating/people.md. Absent: people sign in here only.'),
  requestTimeoutMs: integer(1_000, 600_000, 60_000, 'Longest time for receiving a request.'),
  uploadTimeoutMs: integer(1_000, 3_600_000, 600_000, 'Longest time for receiving a Binary in its own format.'),
  shutdownTimeoutMs: integer(1_000, 9_000, 8_000, 'Longest time for finishing requests and messages after SIGTERM.'),
  requestsPerMinute: integer(1, 10_000_000, 300_000, 'Requests of one client per minute; beyond it 429.'),
  mllpMaxMessageSizeBytes: integer(1_000, 7_500_000, 7_500_000, 'Largest HL7v2 message: it is kept, in base64, as one resource.'),
  mllpMaxConnections: integer(1, 10_000, 256, 'Open MLLP connections.'),
  faxMaxSizeBytes: integer(1_024, 7.5 * MB, 7.5 * MB, 'Largest fax. A fax is stored as one resource of at most 10 MB, in base64.'),
  scriptMaxSizeBytes: integer(1_024, 5 * MB, MB, 'Largest NCPDP SCRIPT message.'),
  inboxRetentionS: integer(hourS, 365 * dayS, 30 * dayS, 'How long the inbox keeps the content of messages that are in the record. What tells a repetition, and its answer, stays.'),
  appTokenLifetimeS: integer(minuteS, 15 * minuteS, 15 * minuteS, 'Access tokens of people\'s apps.'),
  backendTokenLifetimeS: integer(minuteS, 5 * minuteS, 5 * minuteS, 'Access tokens of backend services.'),
  breakGlassSignInAgeS: integer(minuteS, 12 * hourS, 15 * minuteS, 'How long ago, at most, a person who asks for emergency access signed in with both factors.'),
  refreshTokenLifetimeS: integer(hourS, 365 * dayS, 100 * dayS, 'Refresh tokens, from their last use.'),
  grantLifetimeS: integer(hourS, 365 * dayS, 365 * dayS, 'What a person allowed an app, at most.'),
  maxPendingClients: integer(0, 10_000, 100, 'Apps that registered themselves and wait for approval, at most.'),
  requireDpopNonce: flag(false, 'Every DPoP proof needs a nonce of the server, whatever the clock of the client says.'),
  jwksHosts: hosts('Hosts of the own network that key sets of clients may be fetched from, separated by commas. Others must be public.'),
  allowInsecureJwks: flag(false, 'Fetch key sets of clients from the loopback too, also without TLS.'),
  sessionIdleS: integer(minuteS, 15 * minuteS, 15 * minuteS, 'Sign-in sessions without activity (automatic logoff).'),
  sessionLifetimeS: integer(minuteS, 12 * hourS, 12 * hourS, 'Sign-in sessions, whatever happens.'),
  auditAppendTimeoutMs: integer(100, 30_000, 5_000, 'How long a response waits for its audit entry before it becomes a 503.'),
  auditCheckpointIntervalS: integer(1, 60, 60, 'Longest time that an audit entry stays without a signed checkpoint. One is made after 10,000 entries in any case.'),
  integrityIntervalS: integer(0, 30 * dayS, dayS, 'How often everything stored is compared with the audit trail by itself; 0: only when `interlock integrity verify` asks for it.'),
  auditWitnessDir: optionalText('Directory that each checkpoint of the audit trail is written to once: a mount of another machine.'),
  auditWitnessUrl: option<string | undefined>(z.url({ protocol: /^https$/ }).max(2_000).optional(), 'an https:// URL', undefined, 'Where each checkpoint of the audit trail is posted as JSON, again until it is answered with 2xx.'),
  alertRulesFile: optionalText('JSON file that changes the rules of alerts; see docs/operating/alerts.md. Read at start; a mistake in it is a refusal to start.'),
  alertNetworksFile: optionalText('File of address blocks with their countries, one `block,country` a line: new countries are then told of, not only new networks.'),
  alertWebhookUrl: option<string | undefined>(z.url({ protocol: /^https$/ }).max(2_000).optional(), 'an https:// URL', undefined, 'Where each alert is posted, signed, without patient data.'),
  alertSyslog: syslogServer('Syslog server that gets each alert over TLS (RFC 5425), without patient data.'),
  atnaSyslog: syslogServer('Audit record repository that gets every event as DICOM audit message over TLS (IHE ITI-20); see docs/operating/atna.md.'),
  atnaFhirUrl: option<string | undefined>(z.url({ protocol: /^https$/ }).max(2_000).regex(/^[^?#]*$/).optional(), 'an https:// URL without query', undefined, 'FHIR base URL of an audit record repository that gets every AuditEvent (IHE ITI-20, RESTful ATNA).'),
  atnaFrom: option(z.enum(['now', 'beginning']), 'now or beginning', 'now', 'Which events a repository gets that is configured for the first time: new ones, or the whole trail.'),
  outboundCaFile: optionalText('PEM file of authorities that certificates of servers outside may come from, besides the well-known ones and this installation\'s own.'),
  outboundCertificate: flag(false, 'Show a client certificate of this installation\'s authority to syslog servers, webhooks and audit repositories (`service/client.crt` in the keys directory).'),
  auditArchiveAfterDays: integer(1, 36_525, 365, 'Days after which audit entries leave the database for segment files, where they are still found.'),
  auditArchiveDir: optionalText('Directory of the segment files. Absent: `audit-archive` in the data directory.'),
  auditArchiveS3: option<string | undefined>(z.url({ protocol: /^https?$/ }).max(2_000).optional(), 'an https:// URL with a bucket', undefined, 'Bucket for segment files instead of the directory: `https://HOST/BUCKET/PREFIX?region=REGION`; credentials in `s3-credentials.json` of the keys directory.'),
  auditArchiveLock: flag(false, 'Lock segments in the bucket (Object Lock, compliance mode) until they may be purged.'),
  auditArchiveMongodbUri: mongoUri('INTERLOCK_AUDIT_ARCHIVE_MONGODB_URI', 'With `AUDIT_MONGODB_URI`: the same database with a user that may only find and remove in collection `audit`. Absent: segments are written, but nothing is removed or purged.'),
  auditRetentionDays: integer(1, 36_525, 2_192, 'Days that audit entries are kept; six years unless told otherwise.'),
  auditRetentionFile: optionalText('JSON file of organisations that keep their audit trail longer or shorter; see docs/operating/retention.md.'),
  auditWitnessS3: option<string | undefined>(z.url({ protocol: /^https?$/ }).max(2_000).optional(), 'an https:// URL with a bucket', undefined, 'Bucket with Object Lock, as `https://HOST/BUCKET/PREFIX`, where each checkpoint of the audit trail becomes an object that is locked for `INTERLOCK_AUDIT_RETENTION_DAYS`; credentials in `s3-credentials.json` of the keys directory.'),
  auditMaxQueuedEntries: integer(100, 1_000_000, 20_000, 'Audit entries that may wait for the audit store; beyond it 503.'),
} as const satisfies Record<string, Option<unknown>>;

export type OptionName = keyof typeof options;

type Values = { readonly [Name in OptionName]: z.output<(typeof options)[Name]['schema']> };

/** The server's configuration. Paths are absolute, `baseUrl` is always there. */
export type Config = Omit<Values, 'baseUrl'> & { readonly baseUrl: string };

/** Names of all options, in the order in which they are documented. */
export const optionNames = Object.keys(options) as OptionName[];

/** The environment variable that sets an option. */
export function variableOf(name: OptionName): string {
  const { env }: Option<unknown> = options[name];
  return env ?? `INTERLOCK_${name.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
}

function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone !== '';
  } catch {
    return false;
  }
}
