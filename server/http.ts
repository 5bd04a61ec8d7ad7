import { createServer, type Server } from 'node:https';
import express, { type NextFunction, type Request, type Response } from 'express';
import helmet from 'helmet';
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import { InterlockError } from '../resources/outcome/error.ts';
import { contextFromToken, purposesIn } from './access/grants.ts';
import type { TokenFacts } from './access/context.ts';
import { atPresent } from './access/standing.ts';
import type { Auth } from './auth/auth.ts';
import { authenticate, dpopToken } from './auth/passport.ts';
import { commandEndpoint } from './cli/endpoint.ts';
import { consoleRouter } from './console/alerts-page.ts';
import { docsRouter } from './docs.ts';
import type { CapabilityFacts } from './fhir/capabilities.ts';
import { FhirDocuments } from './fhir/documents.ts';
import { Cursors } from './fhir/cursors.ts';
import { isUpload } from './fhir/binary-http.ts';
import { fhirRouter } from './fhir/http.ts';
import { WriteRules } from './fhir/write-rules.ts';
import { doorRouter } from './interfaces/doors.ts';
import { healthRouter } from './observe/health.ts';
import { Metrics } from './observe/metrics.ts';
import type { Services } from './services.ts';
import { version } from './config/version.ts';

/** The HTTPS face of a server: FHIR, sign-in, the channels' HTTP doors, the command line's endpoint, health. */
export function createHttpServer(services: Services): Server {
  const { config, pki, auth, audit, flood, log } = services;
  const fhirBaseUrl = `${config.baseUrl}/fhir/R4`;
  const facts: CapabilityFacts = { baseUrl: fhirBaseUrl, smart: auth.smartConfiguration(), version, date: new Date(), conditionalDelete: config.conditionalDelete, enforcesReferences: config.referenceIntegrity !== 'off' };
  const documents = new FhirDocuments(facts);
  const metrics = new Metrics();
  addBacklogs(metrics, services);
  const limiter = new RateLimiterMemory({ points: config.requestsPerMinute, duration: 60 });
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.use((request, response, next) => {
    const beganMs = performance.now();
    const route = request.path.split('/')[1] ?? '';
    response.once('finish', () => metrics.answered(known.has(route) ? route : 'other', response.statusCode, performance.now() - beganMs));
    next();
  });
  app.use((request, response, next) => {
    limitReceiving(request, response, isUpload(request, request.path.slice(fhirPath.length + 1)) ? config.uploadTimeoutMs : config.requestTimeoutMs);
    next();
  });
  app.use(helmet({ contentSecurityPolicy: { directives: { 'default-src': ["'none'"], 'frame-ancestors': ["'none'"] } }, strictTransportSecurity: { maxAge: 31_536_000 } }));
  app.use(healthRouter([{ name: 'mongodb', check: async () => (await services.mongo.app.db!.command({ ping: 1 }))['ok'] === 1 }, { name: 'audit', check: () => isAvailable(services) }], metrics));
  app.use('/oauth2', auth.router);
  app.use('/channels', doorRouter({ ...services, passport: auth.passport }));
  app.use('/admin', commandEndpoint(services));
  app.use('/console', consoleRouter({ auth, alerts: services.alerts, audit, keyring: services.keyring, baseUrl: config.baseUrl, nowMs: services.nowMs }));
  app.use('/docs', docsRouter({ auth, baseUrl: config.baseUrl }));
  app.use(
    fhirPath,
    fhirRouter({
      services: {
        store: services.store, audit, auditEvents: services.auditEvents, nowMs: services.nowMs, values: services.values, terminology: services.terminology, ...(services.integrity === undefined ? {} : { integrity: services.integrity }), baseUrl: fhirBaseUrl, cursors: new Cursors(services.keyring), document: (name) => documents.get(name),
        rules: new WriteRules({ profiles: config.profileValidation, invariants: config.writeInvariants }),
        limits: {
          maxResourceSizeBytes: config.maxResourceSizeBytes, maxBinarySizeBytes: config.maxBinarySizeBytes, maxBundleSizeBytes: config.maxBundleSizeBytes, maxBundleEntries: config.maxBundleEntries,
          defaultPageCount: config.defaultPageCount, maxPageCount: config.maxPageCount,
          maxConditionalDeletes: config.conditionalDelete === 'multiple' ? 1_000 : 1,
        },
      },
      authenticate: async (request, requestId) => {
        const facts = await bearerOf(auth, request);
        await limit(limiter, facts.clientId);
        const purposeOfUse = request.get('x-purpose-of-use');
        const context = contextFromToken(facts, { requestId, ...where(request.socket.remoteAddress, request.get('user-agent')), ...(purposeOfUse === undefined ? {} : { purposeOfUse: purposesIn(purposeOfUse) }) });
        return atPresent(context, services);
      },
      recordUnauthenticated: async ({ requestId, address, userAgent, method }, error) => {
        const code = error instanceof InterlockError ? error.code : 'internal';
        const actor = { kind: 'anonymous', id: 'anonymous', ...where(address, userAgent) } as const;
        const rule = error instanceof InterlockError ? error.options.rule : undefined;
        await flood.record({ at: services.nowMs(), kind: 'rest', interaction: method.toLowerCase(), action: 'E', outcome: '8', error: code, ...(rule === undefined ? {} : { rule }), requestId, actor });
      },
      smartConfiguration: () => auth.smartConfiguration(),
      log,
    }),
  );
  app.use((_request, response) => {
    response.status(404).end();
  });
  // What no route answered itself. Never express's own page, which repeats the message and writes it to standard error.
  app.use((error: unknown, _request: Request, response: Response, _next: NextFunction) => {
    const isBadRequest = error instanceof Error && 'status' in error && error.status === 400;
    if (!isBadRequest) log.error('request failed unexpectedly', { errorName: error instanceof Error ? error.name : 'unknown' });
    if (response.headersSent) response.destroy();
    else response.status(isBadRequest ? 400 : 500).end();
  });
  const server = createServer({ ...pki.tlsOptions('optional'), maxHeaderSize: 32 * 1024, requestTimeout: 0, headersTimeout: headersTimeoutMs, keepAliveTimeout: 65_000 }, app);
  server.maxConnections = 10_000;
  pki.keepFresh(server, 'optional');
  return server;
}

/** What waits for somebody: alerts for people, notices and events for other servers. */
function addBacklogs(metrics: Metrics, { alerts, atna, nowMs }: Services): void {
  const ageS = (times: readonly (Date | undefined)[]): number => Math.max(0, ...times.map((time) => (time === undefined ? 0 : (nowMs() - time.getTime()) / 1000)));
  metrics.gauge('interlock_alerts_open', 'Alerts that nobody has acknowledged.', () => alerts.register.countOpen());
  metrics.gauge('interlock_deliveries_waiting', 'Notices of alerts that wait for delivery.', async () => (await alerts.deliveries()).reduce((sum, { waiting }) => sum + waiting, 0));
  metrics.gauge('interlock_atna_backlog_blocks', 'Blocks of the audit trail that a repository does not have yet.', async () => (await atna.status()).reduce((sum, { blocks }) => sum + blocks, 0));
  metrics.gauge('interlock_atna_backlog_age_seconds', 'How long the oldest of them waits.', async () => ageS((await atna.status()).map(({ oldestAt }) => oldestAt)));
}

const fhirPath = '/fhir/R4';
const headersTimeoutMs = 60_000;

/** Ends a request whose body does not arrive in time. Node's own limit is one for all, and large files take longer than messages may. */
function limitReceiving(request: Request, response: Response, timeoutMs: number): void {
  if (request.get('content-length') === undefined && request.get('transfer-encoding') === undefined) return;
  const timer = setTimeout(() => {
    if (request.complete) return;
    if (!response.headersSent) response.writeHead(408, { Connection: 'close' }).end();
    request.socket.destroySoon();
  }, timeoutMs);
  timer.unref();
  request.once('close', () => clearTimeout(timer));
}

/** First path segments, as metrics name them. */
const known = new Set(['fhir', 'oauth2', 'channels', 'admin', 'healthz', 'readyz', 'metrics', 'console', 'docs']);

async function bearerOf(auth: Auth, request: Request): Promise<TokenFacts> {
  if (request.get('authorization') === undefined) throw new InterlockError('login-required');
  // A token in a URL would be in histories and logs, and beside one in the header it is not clear which counts.
  if (Object.hasOwn(request.query, 'access_token')) throw new InterlockError('token-invalid', { rule: 'token in the query' });
  const facts = await authenticate(auth.passport, dpopToken(request) === undefined ? 'bearer' : 'dpop', request, request.res!);
  if (facts === undefined) throw new InterlockError('token-invalid');
  return facts;
}

/** @throws InterlockError `throttled` beyond what one client may ask in a minute */
async function limit(limiter: RateLimiterMemory, key: string): Promise<void> {
  try {
    await limiter.consume(key);
  } catch (cause) {
    const waitMs = cause instanceof RateLimiterRes ? cause.msBeforeNext : 60_000;
    throw new InterlockError('throttled', { retryAfterSeconds: Math.ceil(waitMs / 1000), cause });
  }
}

function where(address: string | undefined, userAgent: string | undefined): { address?: string; userAgent?: string } {
  return { ...(address === undefined ? {} : { address }), ...(userAgent === undefined ? {} : { userAgent: userAgent.slice(0, 200) }) };
}

function isAvailable(services: Services): boolean {
  services.audit.assertAvailable();
  return true;
}
