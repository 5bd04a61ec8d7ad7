import { catalogue } from '../../resources/outcome/catalogue.ts';
import type { CapabilityFacts } from './capabilities.ts';
import { compartmentTypes } from './compartments.ts';
import type { Interaction } from './exchange.ts';
import { patchTypes } from './interactions/patch.ts';
import { operations } from './operations/index.ts';
import type { Operation, OperationParameter } from './operations/operation.ts';
import { schemas } from './openapi-schemas.ts';
import { routeTable } from './routes.ts';

type Json = Readonly<Record<string, unknown>>;

interface Offer {
  readonly summary: string;
  readonly status: number;
  /** Schema of the answer. */
  readonly answer?: 'Resource' | 'Bundle' | 'CapabilityStatement';
  readonly body?: 'Resource' | 'BundleToProcess' | 'Patch';
  /** Parameters beyond those of the path. */
  readonly params: readonly string[];
  readonly errors: readonly number[];
}

const shaping = ['_summary', '_elements'];
const searching = ['_id', '_lastUpdated', '_tag', '_profile', '_security', '_count', '_sort', '_total', '_include', '_revinclude', ...shaping];

/** What the document says of an interaction. */
const offers: Readonly<Record<Exclude<Interaction, 'operation'>, Offer>> = {
  'capabilities': { summary: 'What this server offers', status: 200, answer: 'CapabilityStatement', params: ['mode'], errors: [400] },
  'read': { summary: 'Read the current version', status: 200, answer: 'Resource', params: [...shaping, 'If-None-Match', 'If-Modified-Since'], errors: [400, 404, 410] },
  'vread': { summary: 'Read a version', status: 200, answer: 'Resource', params: shaping, errors: [400, 404, 410] },
  'create': { summary: 'Create a resource', status: 201, answer: 'Resource', body: 'Resource', params: ['Prefer', 'If-None-Exist'], errors: [400, 412, 413, 415, 422] },
  'update': { summary: 'Update a resource, or create it under this id', status: 200, answer: 'Resource', body: 'Resource', params: ['Prefer', 'If-Match'], errors: [400, 404, 409, 412, 413, 415, 422] },
  'patch': { summary: 'Change parts of a resource', status: 200, answer: 'Resource', body: 'Patch', params: ['Prefer', 'If-Match'], errors: [400, 404, 409, 410, 412, 413, 415, 422] },
  'delete': { summary: 'Delete a resource', status: 204, params: ['If-Match'], errors: [400, 404, 409, 412] },
  'conditional-update': { summary: 'Update the one resource that matches, or create one', status: 200, answer: 'Resource', body: 'Resource', params: ['_id', 'Prefer', 'If-Match'], errors: [400, 409, 412, 413, 415, 422] },
  'conditional-patch': { summary: 'Change parts of the one resource that matches', status: 200, answer: 'Resource', body: 'Patch', params: ['_id', 'Prefer', 'If-Match'], errors: [400, 404, 409, 412, 413, 415, 422] },
  'conditional-delete': { summary: 'Delete what matches', status: 204, params: ['_id', 'If-Match'], errors: [400, 409, 412] },
  'search': { summary: 'Search', status: 200, answer: 'Bundle', params: searching, errors: [400, 404, 413] },
  'history': { summary: 'Past versions, newest first', status: 200, answer: 'Bundle', params: ['_count', '_since', '_at', ...shaping], errors: [400, 404] },
  'bundle': { summary: 'Batch or transaction', status: 200, answer: 'Bundle', body: 'BundleToProcess', params: ['Prefer'], errors: [400, 404, 409, 412, 413, 415, 422] },
};

/** Types of OpenAPI parameters by where they stand. */
const parameterSchemas: Readonly<Record<string, Json>> = {
  '_count': { type: 'integer', minimum: 0, maximum: 1000 },
  '_summary': { type: 'string', enum: ['true', 'text', 'data', 'false'] },
  '_total': { type: 'string', enum: ['none', 'estimate', 'accurate'] },
  '_id': { type: 'string', pattern: '^[A-Za-z0-9.-]{1,64}$' },
  '_since': { type: 'string', format: 'date-time' },
  '_at': { type: 'string', format: 'date-time' },
  'mode': { type: 'string', enum: ['full', 'normative', 'terminology'] },
  'If-Match': { type: 'string', pattern: '^W/"[1-9][0-9]{0,8}"$' },
  'Prefer': { type: 'string', enum: ['return=minimal', 'return=representation', 'return=OperationOutcome', 'handling=strict', 'handling=lenient'] },
};

/**
 * The API as OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.0), from the tables that route requests. Paths have the resource type as a
 * parameter: 146 types with paths each would make a document that no tool can show. What a type can be searched by stands in
 * the CapabilityStatement.
 */
export function openApi({ baseUrl, smart, version }: CapabilityFacts): Json {
  const paths = new Map<string, Record<string, unknown>>();
  const add = (path: string, method: string, operation: Json) => paths.set(path, { ...paths.get(path), [method.toLowerCase()]: operation });
  for (const { method, path, interaction } of routeTable) {
    if (interaction !== 'operation') add(`/${templated(path)}`, method, interactionAt(method, path, interaction, offers[interaction]));
  }
  for (const operation of operations) {
    for (const [path, methods] of placesOf(operation)) for (const method of methods) add(path, method, callOf(operation, method, path));
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Interlock FHIR R4', version, summary: 'FHIR R4: sealed at rest, audited before it answers', license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
    externalDocs: { description: 'HL7 FHIR R4', url: 'https://hl7.org/fhir/R4/http.html' },
    servers: [{ url: baseUrl }],
    security: [{ smart: [] }, { bearer: [] }],
    tags: [{ name: 'system' }, { name: 'type' }, { name: 'instance' }, { name: 'compartment' }, { name: 'operations' }],
    paths: Object.fromEntries(paths),
    components: {
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer', description: 'An access token, such as a backend service has.' },
        smart: {
          type: 'oauth2',
          description: 'SMART App Launch 2.2',
          flows: {
            authorizationCode: { authorizationUrl: smart['authorization_endpoint'], tokenUrl: smart['token_endpoint'], scopes: Object.fromEntries(scopes) },
            clientCredentials: { tokenUrl: smart['token_endpoint'], scopes: { 'system/*.cruds': 'Everything, without a person' } },
          },
        },
      },
      parameters: pathParameters,
      responses: Object.fromEntries([...new Set(Object.values(catalogue).map(({ status }) => status))].sort().map((status) => [`E${status}`, { description: catalogueText(status), content: contentOf('OperationOutcome') }])),
      schemas: schemas(),
    },
  };
}

const scopes: readonly (readonly [string, string])[] = [['openid', 'Who is signed in'], ['fhirUser', 'Their record'], ['launch/patient', 'A patient to work with'], ['user/*.cruds', 'What the person may do'], ['patient/*.rs', 'What is in the patient\'s record']];

const idSchema = { type: 'string', pattern: '^[A-Za-z0-9.-]{1,64}$' };
const pathParameters: Json = {
  type: { name: 'type', in: 'path', required: true, schema: { $ref: '#/components/schemas/ResourceType' } },
  id: { name: 'id', in: 'path', required: true, schema: idSchema },
  vid: { name: 'vid', in: 'path', required: true, schema: { type: 'string', pattern: '^[1-9][0-9]{0,8}$' } },
  compartment: { name: 'compartment', in: 'path', required: true, schema: { type: 'string', enum: compartmentTypes } },
  member: { name: 'member', in: 'path', required: true, description: 'A type, or * for all', schema: { anyOf: [{ $ref: '#/components/schemas/ResourceType' }, { const: '*' }] } },
};

function templated(path: string): string {
  return path.replace(/:(\w+)/g, '{$1}');
}

function interactionAt(method: string, path: string, interaction: Interaction, { summary, status, answer, body, params, errors }: Offer): Json {
  const isForm = path.endsWith('_search');
  const tag = path.startsWith(':compartment') ? 'compartment' : path.includes(':id') ? 'instance' : path.startsWith(':type') ? 'type' : 'system';
  const statuses = [...(method === 'PUT' || interaction === 'bundle' ? [201] : []), ...(interaction === 'create' ? [200] : []), ...(interaction.endsWith('delete') ? [200] : [])];
  const isPublic = interaction === 'capabilities';
  const takesTypes = /:(?:type|member)/.test(path);
  return {
    operationId: `${interaction}-${method.toLowerCase()}-${path === '' ? 'base' : path.replace(/[:*]/g, '').replaceAll('/', '-')}`,
    summary,
    tags: [tag],
    ...(isPublic ? { security: [] } : {}),
    parameters: [...pathParametersOf(path), ...(isForm ? [] : params.map(parameterOf)), ...(!isForm && !isPublic ? [parameterOf('_format'), parameterOf('_pretty')] : [])],
    ...(body === undefined ? {} : { requestBody: { required: true, content: body === 'Patch' ? patchContent : contentOf(body) } }),
    ...(isForm ? { requestBody: { content: { 'application/x-www-form-urlencoded': { schema: { type: 'object', properties: Object.fromEntries(params.map((name) => [name, schemaOf(name)])) } } } } } : {}),
    responses: {
      ...answerOf(status, answer),
      ...Object.assign({}, ...statuses.map((one) => answerOf(one, one === 200 && status === 204 ? 'Resource' : answer))),
      ...(params.includes('If-None-Match') || isPublic ? { 304: { description: 'Not modified' } } : {}),
      ...errorsOf([...errors, ...(isPublic ? [406] : []), ...(takesTypes ? [404, 405] : [])], isPublic),
    },
  };
}

function placesOf(operation: Operation): [string, readonly string[]][] {
  const { name, levels, types, affectsState } = operation;
  const methods = affectsState ? ['POST'] : ['GET', 'POST'];
  const below = types === 'every' ? ['/{type}'] : types.map((type) => `/${type}`);
  return levels.flatMap((level): [string, readonly string[]][] =>
    level === 'system' ? [[`/$${name}`, methods]] : below.map((type) => [`${type}${level === 'instance' ? '/{id}' : ''}/$${name}`, methods]));
}

function callOf({ name, summary, parameters }: Operation, method: string, path: string): Json {
  const isPrimitive = ({ type }: OperationParameter) => /^[a-z]/.test(type);
  return {
    operationId: `operation-${method.toLowerCase()}${path.replace(/[{}$]/g, '').replaceAll('/', '-')}`,
    summary: `$${name}: ${summary}`,
    tags: ['operations'],
    parameters: [
      ...pathParametersOf(path.replace(/\{(\w+)\}/g, ':$1')),
      ...(method === 'GET' ? parameters.filter(isPrimitive) : []).map(({ name: parameter, documentation, type }) => ({ name: parameter, in: 'query', description: documentation, schema: { type: type === 'boolean' ? 'boolean' : /[iI]nt|decimal/.test(type) ? 'integer' : 'string' } })),
    ],
    ...(method === 'POST' ? { requestBody: { content: contentOf('Resource') } } : {}),
    responses: { ...answerOf(200, 'Resource'), ...errorsOf([400, 404, 405, 409, 410, 412, 413, 415, 422], false) },
  };
}

function pathParametersOf(path: string): Json[] {
  return [...path.matchAll(/:(\w+)/g)].map(([, name]) => ({ $ref: `#/components/parameters/${name!}` }));
}

function parameterOf(name: string): Json {
  return { name, in: /^[A-Z]/.test(name) ? 'header' : 'query', schema: schemaOf(name) };
}

function schemaOf(name: string): Json {
  if (name === '_format') return { type: 'string', enum: ['json', 'xml', 'application/fhir+json', 'application/fhir+xml'] };
  return name === '_pretty' ? { type: 'boolean' } : (parameterSchemas[name] ?? { type: 'string' });
}

function answerOf(status: number, answer: Offer['answer']): Json {
  return { [status]: { description: status === 201 ? 'Created' : status === 204 ? 'Done' : 'OK', ...(answer === undefined ? {} : { content: contentOf(answer) }) } };
}

function errorsOf(statuses: readonly number[], isPublic: boolean): Json {
  const all = new Set([...statuses, ...(isPublic ? [] : [401, 403, 406, 429, 503])]);
  return Object.fromEntries([...all].sort().map((status) => [status, { $ref: `#/components/responses/E${status}` }]));
}

const patchContent = Object.fromEntries(patchTypes.map((type) => [type, { schema: type.includes('patch') ? { $ref: '#/components/schemas/JsonPatch' } : { $ref: '#/components/schemas/Resource' } }]));

function contentOf(schema: string): Json {
  const reference = { $ref: `#/components/schemas/${schema}` };
  return { 'application/fhir+json': { schema: reference }, 'application/fhir+xml': { schema: { type: 'string' } } };
}

function catalogueText(status: number): string {
  return Object.values(catalogue).find((entry) => entry.status === status)!.text;
}
