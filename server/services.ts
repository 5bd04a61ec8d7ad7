import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { Channels } from '../channels/run.ts';
import { InterlockError } from '../resources/outcome/error.ts';
import { BreakGlass } from './access/break-glass.ts';
import { ConsentRegistry } from './access/consent-registry.ts';
import type { GuardServices } from './access/guard.ts';
import { nameTokens } from './access/name-tokens.ts';
import { OwnPatients } from './access/own-patients.ts';
import { setCustomRoles } from './access/roles.ts';
import { readRolesFile } from './access/roles-file.ts';
import { TerminologyService } from './access/terminology.ts';
import type { Alerts } from './alerts/alerts.ts';
import { openAlerts } from './alerts/open.ts';
import { openAtna, type Atna } from './atna/open.ts';
import { openArchive, openRetention } from './audit/archive-open.ts';
import { Checkpoints } from './audit/checkpoints.ts';
import { openFloodGuard, type FloodGuard } from './audit/flood.ts';
import { IntegrityChecks } from './audit/integrity.ts';
import { AuditReader } from './audit/reader.ts';
import type { AuditRecord } from './audit/record.ts';
import { openAuditTrail, type OpenAuditTrail } from './audit/trail.ts';
import { openWitnesses } from './audit/witnesses.ts';
import { createAuth, type Auth } from './auth/auth.ts';
import type { Lifetimes } from './auth/provider.ts';
import { readSsoFile } from './auth/sso-file.ts';
import type { CommandServices } from './cli/command.ts';
import type { Config } from './config/config.ts';
import { consoleClient } from './console/alerts-page.ts';
import { channelDefinitions, messageFormats } from './interfaces/channels.ts';
import { auditPort, sealPort } from './interfaces/ports.ts';
import { createSink } from './interfaces/sink.ts';
import { defaultTenant, Keyring } from './kms/keyring.ts';
import { LocalKeyProvider } from './kms/local-provider.ts';
import { connectMongo, type MongoConnections } from './mongo/connect.ts';
import { docsClient } from './docs.ts';
import { isDataDirUsed, lockDataDir } from './mongo/data-lock.ts';
import { MongoKeyStore } from './mongo/key-store.ts';
import type { Log } from './observe/log.ts';
import { PartnerRegistry } from './partners/registry.ts';
import { assertKeysOutsideData, errnoCode } from './pki/files.ts';
import { Pki } from './pki/pki.ts';
import { peerOf } from './pki/tls.ts';
import { BreachRegister } from './reports/breach-register.ts';
import { Epoch } from './storage/epochs.ts';
import { openStore, type OpenStore } from './storage/store.ts';

/** Everything of a server but its doors. */
export interface Services extends GuardServices, CommandServices {
  readonly config: Config;
  readonly log: Log;
  readonly mongo: MongoConnections;
  readonly store: OpenStore;
  readonly audit: OpenAuditTrail;
  readonly terminology: TerminologyService;
  readonly breakGlass: BreakGlass;
  readonly flood: FloodGuard;
  readonly auth: Auth;
  readonly warnings: readonly string[];
  /** Makes or renews the command line's certificate in the keys directory. */
  issueOperatorCertificate(): void;
  /** Ends everything, doors first. */
  close(): Promise<void>;
}

export interface ServicesOptions {
  readonly config: Config;
  readonly log: Log;
  /** True: channels listen and route. False: commands only. */
  readonly serve: boolean;
  /** Told of what takes long, in one short line. */
  readonly onProgress: (line: string) => void;
  /** Called when the process must not go on. */
  readonly onFatal: (error: unknown) => void;
}

/** What mongod gets for its shutdown: all that was acknowledged is on disk already. */
const mongoGraceMs = 2_000;

/**
 * Puts the rooms together, in the order in which they depend on each other; what was opened is closed again if a later
 * part cannot be opened.
 * @throws InterlockError whose text tells the operator what to do
 */
export async function openServices(options: ServicesOptions): Promise<Services> {
  const { config, log } = options;
  const nowMs = Date.now;
  const fhirBaseUrl = `${config.baseUrl}/fhir/R4`;
  const closers: Closer[] = [];
  const opened = <T>(part: T, close: (part: T) => unknown): T => {
    closers.unshift(() => close(part));
    return part;
  };
  try {
    assertKeysOutsideData(config.dataDir, config.keysDir);
    setCustomRoles(config.rolesFile === undefined ? {} : readRolesFile(config.rolesFile));
    const provider = openProvider(config, !isDataDirUsed(config.dataDir));
    // The embedded database takes the lock itself.
    if (config.mongodbUri !== undefined) opened(lockDataDir(config.dataDir), (lock) => lock.release());
    const pki = opened(await Pki.open({ dataDir: config.dataDir, keysDir: config.keysDir, hosts: [config.host, new URL(config.baseUrl).hostname], protect: provider, log }), (part) => part.close());
    const mongo = opened(await connect(options), async (part) => part.stop(mongoGraceMs));
    const keyUse = new Map<string, number>();
    const keyring = opened(
      await Keyring.open({ provider, store: new MongoKeyStore(mongo.app), onAccess: ({ purpose, outcome }) => keyUse.set(`${purpose}|${outcome}`, (keyUse.get(`${purpose}|${outcome}`) ?? 0) + 1) }),
      (part) => part.close(),
    );
    const values = { baseUrl: fhirBaseUrl, zone: config.zone };
    const epoch = opened(await Epoch.open({ app: mongo.app, log }), async (part) => part.close());
    let checkpoints: Checkpoints | undefined;
    let watch: Alerts | undefined;
    let atna: Atna | undefined;
    const audit = opened(await openAuditTrail({ audit: mongo.audit, keyring, tenant: defaultTenant, epochId: epoch.id, log, flush: { appendTimeoutMs: config.auditAppendTimeoutMs, maxQueuedEntries: config.auditMaxQueuedEntries }, onAppended: (entries) => checkpoints?.count(entries), onRecorded: (entries) => {
      watch?.take(entries);
      atna?.notify();
    }, onFenced: () => options.onFatal(new InterlockError('audit-unavailable')) }), async (part) => part.close());
    const trail = { audit: mongo.audit, keyring, tenant: defaultTenant };
    const archive = openArchive(config, { ...trail, ca: [pki.caPem] });
    const auditReader = new AuditReader({ ...trail, archive, site: { baseUrl: fhirBaseUrl, site: new URL(config.baseUrl).host } });
    const alerts = (watch = opened(await openAlerts({ config, app: mongo.app, keyring, audit, reader: auditReader, pki, log, nowMs }), async (part) => part.close()));
    const feeds = (atna = opened(openAtna({ config, app: mongo.app, audit: mongo.audit, keyring, tenant: defaultTenant, pki, log, alerts }), async (part) => part.close()));
    const witnesses = opened(openWitnesses({ audit: mongo.audit, log, progressFile: join(config.dataDir, 'audit-witness.json'), ...(config.auditWitnessDir === undefined ? {} : { directory: config.auditWitnessDir }), ...(config.auditWitnessUrl === undefined ? {} : { url: config.auditWitnessUrl }), ...(config.auditWitnessS3 === undefined ? {} : { s3: { url: config.auditWitnessS3, keysDir: config.keysDir, ca: [pki.caPem, ...(config.outboundCaFile === undefined ? [] : [readFileSync(config.outboundCaFile, 'utf8')])], retentionMs: config.auditRetentionDays * 86_400_000, progressFile: join(config.dataDir, 'audit-witness-s3.json') } }) }), async (part) => part.close());
    const signed = (checkpoints = opened(await Checkpoints.open({ audit: mongo.audit, keyring, tenant: defaultTenant, keysDir: config.keysDir, log, intervalMs: options.serve ? config.auditCheckpointIntervalS * 1000 : 0, onCheckpoint: () => witnesses.notify(), onFault: (what) => alerts.signal('verification-failed', what) }), async (part) => part.close()));
    const retention = opened(openRetention(config, archive, { ...trail, checkpoints: signed, trail: audit, log, nowMs, openRemover: mongo.openArchiver, daily: options.serve }), async (part) => part.close());
    await audit.record(serverRecord('start', nowMs()));
    for (const [use, count] of keyUse) await audit.record(keyRecord(use, count, nowMs()));
    const store = opened(openStore({ app: mongo.app, keyring, tenant: defaultTenant, epoch, audit, log, values, words: config.wordIndex, indexing: { onJob: async (event) => audit.record(serverRecord(event, nowMs())) } }), async (part) => part.close());
    // The embedded database is this process's alone: what a killed one left is repaired before anything is served.
    if (mongo.embedded !== undefined) await store.repair({ alone: true });
    await store.indexes.open();
    await alerts.start(nameTokens({ store, keyring, nowMs }));
    const integrityChecks = opened(new IntegrityChecks({ audit: mongo.audit, keyring, tenant: defaultTenant, checkpoints: signed, archive, reader: auditReader, trail: audit, store, dataDir: config.dataDir, log, nowMs, intervalMs: options.serve ? config.integrityIntervalS * 1000 : 0, onFault: (what) => alerts.signal('verification-failed', what) }), async (part) => part.close());
    const breaches = opened(new BreachRegister({ ...trail, app: mongo.app, audit, nowMs, intervalMs: options.serve ? breachIntervalMs : 0, onOverdue: (what) => alerts.signal('breach-overdue', what) }), (part) => part.stop());
    const flood = opened(openFloodGuard({ trail: audit }), async (part) => part.close());
    const partners = new PartnerRegistry({ connection: mongo.app, keyring, audit: async (record) => audit.record(record), isRevoked: (serial) => pki.isRevoked(serial) });
    const terminology = new TerminologyService(store);
    const consents = new ConsentRegistry({ store, values, nowMs, otherwise: config.consentDefault, organizations: new Map(config.consentOrganizations) });
    const breakGlass = new BreakGlass({ app: mongo.app, keyring, audit, nowMs, maxSignInAgeMs: config.breakGlassSignInAgeS * 1000, onAlert: async () => alerts.flush() });
    const guard: GuardServices = { store, consents, breakGlass, audit, auditEvents: auditReader, nowMs, values, terminology, integrity: config.referenceIntegrity, ownPatients: new OwnPatients({ store, nowMs, values }) };
    const auth = opened(await createAuth({ app: mongo.app, keyring, audit, guard, issuer: `${config.baseUrl}/oauth2`, fhirBaseUrl, log, nowMs, lifetimes: lifetimesOf(config), ownClients: new Map([...docsClient(config.baseUrl), ...consoleClient(config.baseUrl)]), ...(config.ssoFile === undefined ? {} : { sso: readSsoFile(config.ssoFile) }), keySets: { allowedHosts: config.jwksHosts, allowInsecureLoopback: config.allowInsecureJwks, ca: [pki.caPem] }, requireDpopNonce: config.requireDpopNonce, maxPendingClients: config.maxPendingClients, pki, partnerOf: async (socket) => partnerNameOf(pki, socket) }), async (part) => part.close());
    const channels = opened(
      await listening(config.mllpPort, 'INTERLOCK_MLLP_PORT', Channels.start({
        definitions: channelDefinitions(config, options.serve),
        formats: messageFormats(),
        connection: mongo.app,
        partners,
        seal: sealPort(keyring),
        audit: auditPort(audit, nowMs),
        sink: createSink(guard),
        log,
        clock: { nowMs },
        listeners: { hl7v2: { host: config.host, port: config.mllpPort } },
        tls: pki.tlsOptions('required'),
        owner: epoch.id,
        limits: { mllp: { maxConnections: config.mllpMaxConnections } },
      })),
      async (part) => part.stop(4_000),
    );
    opened(keepPurged(channels, config.inboxRetentionS * 1000, log), (timer) => clearInterval(timer));
    pki.onChange(() => channels.setTls(pki.tlsOptions('required')));
    return {
      ...guard, guard, alerts, atna: feeds, breakGlass, terminology, config, log, pki, mongo, keyring, store, audit, flood, partners, auth, channels, auditReader, retention, breaches, checkpoints: signed, integrityChecks,
      auditConnection: mongo.audit, keysDir: config.keysDir, tenant: defaultTenant, clients: auth.clients, initialTokens: auth.initialTokens, softwareIssuers: auth.softwareIssuers, people: auth.people, apps: auth.apps, createLaunch: (launch) => auth.createLaunch(launch), fhirBaseUrl, warnings: mongo.warnings,
      issueOperatorCertificate: () => void pki.issueOperatorCertificate(),
      close: async () => {
        await audit.record(serverRecord('stop', nowMs())).catch(() => undefined);
        await closeAll(closers);
      },
    };
  } catch (error) {
    await closeAll(closers);
    throw error;
  }
}

type Closer = () => unknown;

/**
 * Waits for a listener.
 * @throws InterlockError `config-invalid` that names the port and the setting if it is taken or cannot be had
 */
export async function listening<T>(port: number, variable: string, listener: Promise<T>): Promise<T> {
  try {
    return await listener;
  } catch (cause) {
    const code = errnoCode(cause);
    if (code === 'EADDRINUSE') throw new InterlockError('config-invalid', { detail: `Port ${port} is taken; stop what listens there or set ${variable}.`, cause });
    if (code === 'EACCES' || code === 'EADDRNOTAVAIL') throw new InterlockError('config-invalid', { detail: `Nothing can listen on port ${port} there; check INTERLOCK_HOST and ${variable}.`, cause });
    throw cause;
  }
}

async function closeAll(closers: readonly Closer[]): Promise<void> {
  for (const close of closers) await Promise.resolve(close()).catch(() => undefined);
}

function lifetimesOf(config: Config): Lifetimes {
  return {
    appTokenS: config.appTokenLifetimeS,
    backendTokenS: config.backendTokenLifetimeS,
    idleS: config.sessionIdleS,
    sessionS: config.sessionLifetimeS,
    refreshS: config.refreshTokenLifetimeS,
    grantS: config.grantLifetimeS,
  };
}

function openProvider(config: Config, mayCreate: boolean): LocalKeyProvider {
  if (config.workers !== 1) throw new InterlockError('config-invalid', { detail: 'INTERLOCK_WORKERS: one process is all that this version offers.' });
  if (config.kms !== 'local:') throw new InterlockError('config-invalid', { detail: 'INTERLOCK_KMS: only local: is available in this version.' });
  return LocalKeyProvider.open(config.keysDir, mayCreate);
}

async function connect({ config, log, onProgress, onFatal }: ServicesOptions): Promise<MongoConnections> {
  return connectMongo({
    appUri: config.mongodbUri,
    auditUri: config.auditMongodbUri,
    archiverUri: config.auditArchiveMongodbUri,
    allowInsecureMongo: config.allowInsecureMongo,
    log,
    embedded: {
      dataDir: config.dataDir,
      keysDir: config.keysDir,
      port: config.mongodPort,
      configuredPath: config.mongod,
      searchPath: process.env['PATH'],
      cacheDir: join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'interlock'),
      onProgress,
      onFailed: onFatal,
    },
  });
}

const purgeIntervalMs = 3600_000;
const breachIntervalMs = 3600_000;

/** Removes the content of messages that were stored long ago: Provenance keeps their source in the record. */
function keepPurged(channels: Channels, retentionMs: number, log: Log): NodeJS.Timeout {
  const timer = setInterval(() => {
    channels.purge(Date.now() - retentionMs).catch((error: unknown) => log.warn('inbox not purged', { errorName: error instanceof Error ? error.name : 'unknown' }));
  }, purgeIntervalMs);
  timer.unref();
  return timer;
}

const system = { kind: 'job', id: 'interlock' } as const;

function serverRecord(interaction: 'start' | 'stop' | 'index-start' | 'index-end', at: number): AuditRecord {
  return { at, kind: 'server', interaction, action: 'E', outcome: '0', requestId: randomUUID(), actor: system };
}

function keyRecord(use: string, count: number, at: number): AuditRecord {
  const [purpose = '', outcome] = use.split('|');
  return { at, kind: 'key', interaction: `unwrap ${purpose}`, action: 'R', outcome: outcome === 'ok' ? '0' : '8', requestId: randomUUID(), actor: system, count };
}

function partnerNameOf(pki: Pki, socket: TLSSocket): string | undefined {
  const peer = peerOf(pki, socket);
  return typeof peer !== 'string' && peer.kind === 'partner' ? peer.name : undefined;
}
