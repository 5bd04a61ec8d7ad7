import { InterlockError } from '../../resources/outcome/error.ts';
import { parseResource, assertValid } from '../../resources/validate/index.ts';
import { emergencyBanner } from '../access/break-glass.ts';
import { GuardedRepository } from '../access/guard.ts';
import type { AccessContext } from '../access/context.ts';
import { parseSearch } from '../search/parse.ts';
import type { BundleEntry } from './bundle-entries.ts';
import { searchWithin } from './compartments.ts';
import type { Exchange, FhirRequest, FhirResponse, FhirServices, Interaction } from './exchange.ts';
import { bundle } from './interactions/bundle.ts';
import { history } from './interactions/history.ts';
import { patch } from './interactions/patch.ts';
import { capabilities, read, vread } from './interactions/read.ts';
import { search, searchPlace } from './interactions/search.ts';
import { conditionalDelete, conditionalPatch, conditionalUpdate, create, remove, update } from './interactions/write.ts';
import { readInput } from './operations/parameters.ts';
import { preferences } from './responses.ts';
import { routeOf, splitUrl } from './routes.ts';
import { assertWhole } from './shape.ts';

/*
 * The whole path of a FHIR request, in order. What comes before, for requests by HTTP, is in http.ts: limits, headers,
 * request id, authentication. Bundle entries start here, with the context of their Bundle.
 *
 *   step            interactions it runs for               what it does
 */
const steps: readonly Step[] = [
  step(parseQuery,   ['search'],                            'strict or lenient by Prefer: handling; opens page cursors'),
  step(parseBody,    ['create', 'update', 'conditional-update', 'bundle'], 'JSON of bounded size and depth, no duplicate keys'),
  step(validateBody, ['create', 'update', 'conditional-update', 'bundle'], 'type and id agree with the URL; structure, required bindings'),
  step(parseInput,   ['operation'],                         'the operation\'s parameters, from the URL and the body'),
  step(execute,      'every',                               'one file per interaction; decides, filters and audits through the guarded repository'),
];

/** How each interaction is carried out. */
const interactions: Readonly<Record<Interaction, (exchange: Exchange) => Promise<FhirResponse> | FhirResponse>> = {
  'capabilities': capabilities,
  'read': read,
  'vread': vread,
  'create': create,
  'update': update,
  'delete': remove,
  'patch': patch,
  'conditional-update': conditionalUpdate,
  'conditional-delete': conditionalDelete,
  'conditional-patch': conditionalPatch,
  'search': search,
  'history': history,
  'bundle': (exchange) => bundle(exchange, runEntry),
  'operation': runOperation,
};

/** What the audit calls an interaction that failed before the guarded repository was asked. */
const auditActions: Readonly<Record<Interaction, 'C' | 'R' | 'U' | 'D' | 'E'>> = {
  'capabilities': 'R', 'read': 'R', 'vread': 'R', 'create': 'C', 'update': 'U', 'delete': 'D', 'patch': 'U', 'conditional-patch': 'U', 'conditional-update': 'U', 'conditional-delete': 'D', 'search': 'E', 'history': 'R', 'bundle': 'E', 'operation': 'E',
};

/**
 * Carries a request through the steps.
 * @throws InterlockError for every refusal and failure; its audit entry is durable then
 */
export async function handle(services: FhirServices, request: FhirRequest, context: AccessContext): Promise<FhirResponse> {
  const guard = new GuardedRepository(services, context);
  let exchange: Exchange | undefined;
  try {
    exchange = { services, request, context, guard, ...routeOf(request.method, request.path) };
    for (const { run, appliesTo } of steps) {
      if (appliesTo === 'every' || appliesTo.includes(exchange.interaction)) await run(exchange);
    }
    return withBanner(exchange.response!, context);
  } catch (error) {
    const { interaction, operation, type, id } = exchange ?? {};
    const target = { ...(type === undefined ? {} : { type }), ...(id === undefined ? {} : { id }) };
    await guard.recordFailure({ interaction: operation === undefined ? (interaction ?? 'unknown') : `$${operation.name}`, action: interaction === undefined ? 'E' : auditActions[interaction], ...target }, error);
    throw error;
  }
}

/** While the glass is broken every answer says so (https://www.rfc-editor.org/rfc/rfc7234#section-5.5: 199, any other warning). */
function withBanner(response: FhirResponse, { brokenGlass }: AccessContext): FhirResponse {
  return brokenGlass === undefined ? response : { ...response, headers: { ...response.headers, Warning: `199 interlock "${emergencyBanner}"` } };
}

/** A Bundle's entry as a request of its own, under the same context. */
async function runEntry({ services, context, request: bundle }: Exchange, entry: BundleEntry): Promise<FhirResponse> {
  const { path, query } = splitUrl(entry.url);
  const { ifMatch, ifNoneMatch, ifNoneExist, ifModifiedSince } = entry;
  const headers = { ifMatch, ifNoneMatch, ifNoneExist, ifModifiedSince, prefer: bundle.headers.prefer };
  const given = Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== undefined));
  if (path === '' && entry.method === 'POST') throw new InterlockError('interaction-unsupported', { detail: 'A Bundle cannot stand in a Bundle.' });
  const request: FhirRequest = {
    method: entry.method,
    path,
    query: [...new URLSearchParams(query)],
    headers: given,
    ...(entry.bytes === undefined ? {} : { body: entry.bytes }),
    ...(entry.resource === undefined ? {} : { resource: entry.resource }),
    ...(entry.patch ?? {}),
  };
  return handle(services, request, context);
}

async function parseQuery(exchange: Exchange): Promise<void> {
  const { services, request, type, context, compartment } = exchange;
  const cursorText = request.query.find(([name]) => name === '_cursor')?.[1];
  const cursor = cursorText === undefined ? undefined : await services.cursors.open(cursorText, context, searchPlace(exchange));
  if (cursor !== undefined) exchange.after = cursor.after;
  const parsed = parseSearch(type, cursor?.query ?? request.query, {
    strict: preferences(request.headers.prefer).handling === 'strict',
    defaultCount: services.limits.defaultPageCount,
    maxCount: services.limits.maxPageCount,
    nowMs: services.nowMs(),
    ...services.values,
  });
  exchange.search = compartment === undefined ? parsed : searchWithin(parsed, compartment, context);
}

function parseBody(exchange: Exchange): void {
  if (exchange.request.resource !== undefined) {
    exchange.resource = exchange.request.resource;
    return;
  }
  const { body } = exchange.request;
  if (body === undefined || body.length === 0) throw new InterlockError('structure-invalid', { detail: 'A body is required.' });
  const { maxResourceSizeBytes, maxBundleSizeBytes } = exchange.services.limits;
  exchange.resource = parseResource(body, { maxBytes: exchange.interaction === 'bundle' ? maxBundleSizeBytes : maxResourceSizeBytes });
}

function validateBody({ services, resource, type, id, interaction }: Exchange): void {
  // Entries are validated one by one, so that one of a batch cannot spoil the others.
  if (interaction === 'bundle') {
    assertValid(resource!, { entryResources: false });
    return;
  }
  if (resource!.resourceType !== type) throw new InterlockError('request-invalid', { detail: 'The resource is not of the type in the URL.' });
  if (interaction === 'update' && resource!.id !== id) throw new InterlockError('request-invalid', { detail: 'The id in the resource is not that in the URL.' });
  assertValid(resource!);
  assertWhole(resource!);
  services.rules?.assert(resource!);
}

function parseInput(exchange: Exchange): void {
  exchange.input = readInput(exchange.operation!, exchange);
}

/** The call is on record itself, beside the accesses that it made. */
async function runOperation(exchange: Exchange): Promise<FhirResponse> {
  const { operation, guard, request, type, id } = exchange;
  const response = await operation!.run(exchange, exchange.input!);
  const query = `${request.method} ${request.path}?${request.query.map(([name, value]) => `${name}=${value}`).join('&')}`;
  await guard.recordAccess({ interaction: `$${operation!.name}`, action: 'E', ...(type === undefined ? {} : { type }), ...(id === undefined ? {} : { id }), query });
  return response;
}

async function execute(exchange: Exchange): Promise<void> {
  exchange.response = await interactions[exchange.interaction](exchange);
}

interface Step {
  readonly run: (exchange: Exchange) => Promise<void> | void;
  readonly appliesTo: 'every' | readonly Interaction[];
  readonly duty: string;
}

function step(run: Step['run'], appliesTo: Step['appliesTo'], duty: string): Step {
  return { run, appliesTo, duty };
}
