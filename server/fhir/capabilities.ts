import { createHash } from 'node:crypto';
import { resourceTypes, searchParamsOf } from '../../resources/definitions/index.ts';
import { isSearchable } from '../search/parse.ts';
import { readOnlyTypes, routeTable } from './routes.ts';
import type { Interaction } from './exchange.ts';

/** The codes that a CapabilityStatement has for what a route does to a type (http://hl7.org/fhir/restful-interaction). */
const typeInteractions: Readonly<Partial<Record<Interaction, readonly string[]>>> = {
  read: ['read'],
  vread: ['vread'],
  update: ['update'],
  delete: ['delete'],
  patch: ['patch'],
  create: ['create'],
  search: ['search-type'],
  history: ['history-instance', 'history-type'],
};

/** The trail is read and searched, never written. */
const trailInteractions = new Set(['read', 'search-type']);

/** What the statement tells beside what it finds in the definitions. */
export interface CapabilityFacts {
  readonly baseUrl: string;
  /** The smart-configuration document. */
  readonly smart: Readonly<Record<string, unknown>>;
  readonly version: string;
  /** When this configuration came to be: start of the server. */
  readonly date: Date;
}

/** Makes the CapabilityStatement (https://hl7.org/fhir/R4/capabilitystatement.html) from the route table and HL7's definitions. */
export function capabilityStatement(facts: CapabilityFacts): { bytes: Buffer; etag: string } {
  const offered = [...new Set(routeTable.filter(({ path }) => path.startsWith(':type')).flatMap(({ interaction }) => typeInteractions[interaction] ?? []))];
  const statement = {
    resourceType: 'CapabilityStatement',
    url: `${facts.baseUrl}/metadata`,
    version: facts.version,
    name: 'Interlock',
    title: 'Interlock FHIR R4 server',
    status: 'active',
    date: facts.date.toISOString(),
    kind: 'instance',
    instantiates: ['http://hl7.org/fhir/us/core/CapabilityStatement/us-core-server'],
    software: { name: 'Interlock', version: facts.version },
    implementation: { description: 'Interlock: sealed at rest, audited before it answers', url: facts.baseUrl },
    fhirVersion: '4.0.1',
    format: ['application/fhir+json', 'json'],
    rest: [
      {
        mode: 'server',
        security: security(facts.smart),
        resource: resourceTypes().map((type) => resourceOf(type, offered)),
        interaction: ['transaction', 'batch', 'search-system', 'history-system'].map((code) => ({ code })),
      },
    ],
  };
  const bytes = Buffer.from(JSON.stringify(statement));
  return { bytes, etag: `W/"${createHash('sha256').update(bytes).digest('hex').slice(0, 16)}"` };
}

function resourceOf(type: string, offered: readonly string[]): Record<string, unknown> {
  const trail = readOnlyTypes.has(type);
  const params = [...searchParamsOf(type).values()].filter(isSearchable).sort((a, b) => a.code.localeCompare(b.code));
  const references = params.filter((param) => param.type === 'reference').map((param) => `${type}:${param.code}`);
  return {
    type,
    interaction: offered.filter((code) => !trail || trailInteractions.has(code)).map((code) => ({ code })),
    versioning: trail ? 'no-version' : 'versioned-update',
    readHistory: !trail,
    ...(trail
      ? {}
      : { updateCreate: true, conditionalCreate: true, conditionalRead: 'full-support', conditionalUpdate: true, conditionalDelete: 'single' }),
    ...(references.length === 0 || trail ? {} : { searchInclude: references }),
    searchParam: params.map((param) => ({ name: param.code, definition: param.url, type: param.type })),
  };
}

/** SMART's announcement of the authorization server, in the form of SMART 1 too (https://hl7.org/fhir/smart-app-launch/1.0.0/conformance/). */
function security(smart: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const endpoints = { authorize: 'authorization_endpoint', token: 'token_endpoint', introspect: 'introspection_endpoint', revoke: 'revocation_endpoint', manage: 'management_endpoint', register: 'registration_endpoint' };
  const uris = Object.entries(endpoints).flatMap(([url, name]) => (typeof smart[name] === 'string' ? [{ url, valueUri: smart[name] }] : []));
  return {
    cors: true,
    service: [{ coding: [{ system: 'http://terminology.hl7.org/CodeSystem/restful-security-service', code: 'SMART-on-FHIR', display: 'SMART-on-FHIR' }], text: 'SMART App Launch 2.2' }],
    extension: [{ url: 'http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris', extension: uris }],
  };
}
