import { isResourceType } from '../../resources/definitions/index.ts';
import { InterlockError } from '../../resources/outcome/error.ts';
import { isCompartmentType, typesIn, type Compartment } from './compartments.ts';
import type { Interaction } from './exchange.ts';
import { operationAt } from './operations/index.ts';
import type { Operation } from './operations/operation.ts';

/** Where a request leads. */
export interface Route {
  readonly interaction: Interaction;
  readonly type?: string;
  readonly id?: string;
  readonly versionId?: number;
  readonly operation?: Operation;
  readonly compartment?: Compartment;
}

interface RouteRow {
  readonly method: string;
  /** `:type`, `:id`, `:vid`, `:compartment` and `:member` (a type in it, or `*`) are variables, everything else is literal. */
  readonly path: string;
  readonly interaction: Interaction;
}

/** The routes of the FHIR API (https://hl7.org/fhir/R4/http.html#3.1.0): the CapabilityStatement is generated from the same rows. */
export const routeTable: readonly RouteRow[] = [
  { method: 'GET', path: 'metadata', interaction: 'capabilities' },
  { method: 'POST', path: '', interaction: 'bundle' },
  { method: 'GET', path: '', interaction: 'search' },
  { method: 'POST', path: '_search', interaction: 'search' },
  { method: 'GET', path: '_history', interaction: 'history' },
  { method: 'GET', path: ':type', interaction: 'search' },
  { method: 'POST', path: ':type/_search', interaction: 'search' },
  { method: 'POST', path: ':type', interaction: 'create' },
  { method: 'PUT', path: ':type', interaction: 'conditional-update' },
  { method: 'PATCH', path: ':type', interaction: 'conditional-patch' },
  { method: 'DELETE', path: ':type', interaction: 'conditional-delete' },
  { method: 'GET', path: ':type/_history', interaction: 'history' },
  { method: 'GET', path: ':type/:id', interaction: 'read' },
  { method: 'PUT', path: ':type/:id', interaction: 'update' },
  { method: 'PATCH', path: ':type/:id', interaction: 'patch' },
  { method: 'DELETE', path: ':type/:id', interaction: 'delete' },
  { method: 'GET', path: ':type/:id/_history', interaction: 'history' },
  { method: 'GET', path: ':type/:id/_history/:vid', interaction: 'vread' },
  { method: 'GET', path: ':compartment/:id/:member', interaction: 'search' },
  { method: 'POST', path: ':compartment/:id/:member/_search', interaction: 'search' },
];

const compiledRows = routeTable.map((row) => ({ ...row, segments: row.path === '' ? [] : row.path.split('/') }));

/** Ids as FHIR allows them (https://hl7.org/fhir/R4/datatypes.html#id). */
export const idPattern = /^[A-Za-z0-9\-.]{1,64}$/;
const versionPattern = /^[1-9][0-9]{0,8}$/;

/** Types that clients read and search only: the audit trail writes itself. */
export const readOnlyTypes: ReadonlySet<string> = new Set(['AuditEvent']);
const readMethods: ReadonlySet<string> = new Set(['GET']);

/**
 * Finds the interaction of a request.
 * @throws InterlockError `not-found` for paths and types that do not exist, `interaction-unsupported` for a method that a path does not take
 */
export function routeOf(method: string, path: string): Route {
  const asked = method === 'HEAD' ? 'GET' : method;
  const routes = routesOf(path);
  const found = routes.find((route) => route.method === asked);
  if (found !== undefined) return found.route;
  if (routes.length > 0) throw new InterlockError('interaction-unsupported');
  throw new InterlockError('not-found', { detail: 'No such resource type, operation or path.' });
}

/** Cuts a URL at its first question mark; further ones belong to the values of its query. */
export function splitUrl(url: string): { readonly path: string; readonly query: string } {
  const mark = url.indexOf('?');
  return mark < 0 ? { path: url, query: '' } : { path: url.slice(0, mark), query: url.slice(mark + 1) };
}

/** The methods that a path takes, for the Allow header. */
export function methodsOf(path: string): readonly string[] {
  return [...new Set(routesOf(path).flatMap(({ method }) => (method === 'GET' ? ['GET', 'HEAD'] : [method])))];
}

function routesOf(path: string): { readonly method: string; readonly route: Route }[] {
  const segments = path === '' ? [] : path.replace(/\/$/, '').split('/');
  if (segments.at(-1)?.startsWith('$') === true) return operationRoutes(segments);
  return compiledRows.flatMap(({ segments: pattern, method, interaction }) => {
    const route = match(pattern, segments);
    const isOffered = route !== undefined && (route.type === undefined || !readOnlyTypes.has(route.type) || readMethods.has(method) || interaction === 'search');
    return isOffered ? [{ method, route: { interaction, ...route } }] : [];
  });
}

/** `$name`, `Type/$name` and `Type/id/$name`: what changes nothing also by GET (https://hl7.org/fhir/R4/operations.html#request). */
function operationRoutes(segments: readonly string[]): { readonly method: string; readonly route: Route }[] {
  const [type, id] = segments.slice(0, -1);
  if (segments.length > 3 || (type !== undefined && !isResourceType(type)) || (id !== undefined && !idPattern.test(id))) return [];
  const operation = operationAt(segments.at(-1)!.slice(1), id !== undefined ? 'instance' : type !== undefined ? 'type' : 'system', type);
  if (operation === undefined) return [];
  const route: Route = { interaction: 'operation', operation, ...(type === undefined ? {} : { type }), ...(id === undefined ? {} : { id }) };
  return (operation.affectsState ? ['POST'] : ['GET', 'POST']).map((method) => ({ method, route }));
}

function match(pattern: readonly string[], segments: readonly string[]): Omit<Route, 'interaction'> | undefined {
  if (pattern.length !== segments.length) return undefined;
  const route: { type?: string; id?: string; versionId?: number; compartment?: Compartment } = {};
  if (pattern[0] === ':compartment') return matchCompartment(pattern, segments);
  for (const [index, expected] of pattern.entries()) {
    const segment = segments[index]!;
    if (expected === ':type') {
      if (!isResourceType(segment)) return undefined;
      route.type = segment;
    } else if (expected === ':id') {
      if (!idPattern.test(segment)) return undefined;
      route.id = segment;
    } else if (expected === ':vid') {
      // A version id that cannot exist is an unknown version, not a bad request.
      route.versionId = versionPattern.test(segment) ? Number(segment) : 0;
    } else if (expected !== segment) return undefined;
  }
  return route;
}

function matchCompartment(pattern: readonly string[], [owner = '', id = '', member = '', ...rest]: readonly string[]): Omit<Route, 'interaction'> | undefined {
  if (!isCompartmentType(owner) || !idPattern.test(id) || rest.join('/') !== pattern.slice(3).join('/')) return undefined;
  const compartment: Compartment = { type: owner, id };
  if (member === '*' || member === '%2A') return { compartment };
  return typesIn(owner).includes(member) ? { compartment, type: member } : undefined;
}
