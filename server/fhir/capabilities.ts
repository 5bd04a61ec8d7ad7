import { resourceTypes, searchParamsOf } from '../../resources/definitions/index.ts';
import { supportedProfilesOf } from '../../resources/profiles/index.ts';
import type { SearchParam } from '../../resources/search-values/index.ts';
import { isSearchable, modifiersOf } from '../search/parse.ts';
import { compartmentTypes } from './compartments.ts';
import type { Interaction } from './exchange.ts';
import { patchTypes } from './interactions/patch.ts';
import { operations } from './operations/index.ts';
import type { Operation } from './operations/operation.ts';
import { readOnlyTypes, routeTable } from './routes.ts';

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

/** Parameters of every search that no definition lists (https://hl7.org/fhir/R4/search.html#all). */
const commonParams = [
  { name: '_type', type: 'special', documentation: 'Types searched, where the URL names none.' },
  { name: '_has', type: 'special', documentation: 'Resources that others of a kind refer to; may be nested.' },
  { name: '_filter', type: 'special', documentation: 'Conditions as an expression.' },
  { name: '_list', type: 'special', documentation: 'Members of a List.' },
  { name: '_text', type: 'special', documentation: 'Words of the narrative.' },
  { name: '_content', type: 'special', documentation: 'Words of the whole resource.' },
] as const;

/** What `_lastUpdated` and others detect, beyond their definitions. */
const paramDocumentation: Readonly<Record<string, string>> = {
  _lastUpdated: 'Set by the server whenever a version of the resource is written: create, update, patch, operations and messages of interfaces that change it, and updates that leave the content as it was. Deletions do not show in searches; see _history.',
};

/** What the statement tells beside what it finds in the definitions. */
export interface CapabilityFacts {
  readonly baseUrl: string;
  /** The smart-configuration document. */
  readonly smart: Readonly<Record<string, unknown>>;
  readonly version: string;
  /** When this configuration came to be: start of the server. */
  readonly date: Date;
  /** How the server is configured. */
  readonly conditionalDelete: 'single' | 'multiple';
  readonly enforcesReferences: boolean;
}

/** Makes the CapabilityStatement (https://hl7.org/fhir/R4/capabilitystatement.html) from the route table and HL7's definitions. */
export function capabilityStatement(facts: CapabilityFacts): unknown {
  const offered = [...new Set(routeTable.filter(({ path }) => path.startsWith(':type')).flatMap(({ interaction }) => typeInteractions[interaction] ?? []))];
  return {
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
    format: ['application/fhir+json', 'application/fhir+xml', 'json', 'xml'],
    patchFormat: patchTypes,
    rest: [
      {
        mode: 'server',
        security: security(facts.smart),
        resource: resourceTypes().map((type) => resourceOf(type, offered, facts)),
        interaction: ['transaction', 'batch', 'search-system', 'history-system'].map((code) => ({ code })),
        documentation: `Modifiers by parameter type: ${modifiersByType()}. Results: _count, _sort, _total, _include, _revinclude, _summary, _elements, _contained.`,
        searchParam: commonParams,
        operation: operationsOf((operation) => operation.levels.includes('system')),
        compartment: compartmentTypes.map((type) => `http://hl7.org/fhir/CompartmentDefinition/${type.toLowerCase()}`),
      },
    ],
  };
}

/** What `metadata?mode=terminology` gives (https://hl7.org/fhir/R4/terminologycapabilities.html). */
export function terminologyCapabilities(facts: CapabilityFacts): unknown {
  const paramsOf = (name: string) => operations.find((operation) => operation.name === name)?.parameters ?? [];
  return {
    resourceType: 'TerminologyCapabilities',
    url: `${facts.baseUrl}/metadata?mode=terminology`,
    version: facts.version,
    name: 'Interlock',
    status: 'active',
    date: facts.date.toISOString(),
    kind: 'instance',
    software: { name: 'Interlock', version: facts.version },
    implementation: { description: 'Interlock: terminology shipped and posted', url: facts.baseUrl },
    codeSearch: 'all',
    expansion: { hierarchical: false, paging: paramsOf('expand').some(({ name }) => name === 'offset'), parameter: paramsOf('expand').map(({ name, documentation }) => ({ name, documentation })) },
    validateCode: { translations: false },
    translation: { needsMap: false },
  };
}

function resourceOf(type: string, offered: readonly string[], { conditionalDelete, enforcesReferences }: CapabilityFacts): Record<string, unknown> {
  const trail = readOnlyTypes.has(type);
  const params = [...searchParamsOf(type).values()].filter(isSearchable).sort((a, b) => a.code.localeCompare(b.code));
  const references = params.filter((param) => param.type === 'reference').map((param) => `${type}:${param.code}`);
  const referring = referringTo(type);
  const profiles = supportedProfilesOf(type);
  const ofType = operationsOf(({ levels, types }) => levels.some((level) => level !== 'system') && (types === 'every' ? !trail : types.includes(type)));
  return {
    type,
    profile: `http://hl7.org/fhir/StructureDefinition/${type}`,
    ...(profiles.length === 0 ? {} : { supportedProfile: profiles }),
    interaction: offered.filter((code) => !trail || trailInteractions.has(code)).map((code) => ({ code })),
    versioning: trail ? 'no-version' : 'versioned-update',
    readHistory: !trail,
    ...(trail
      ? {}
      : { updateCreate: true, conditionalCreate: true, conditionalRead: 'full-support', conditionalUpdate: true, conditionalDelete, referencePolicy: ['literal', 'logical', ...(enforcesReferences ? ['enforced'] : [])] }),
    ...(references.length === 0 || trail ? {} : { searchInclude: ['*', ...references] }),
    ...(trail ? {} : { searchRevInclude: referring }),
    searchParam: params.map((param) => ({ name: param.code, definition: param.url, type: param.type, ...(paramDocumentation[param.code] === undefined ? {} : { documentation: paramDocumentation[param.code] }) })),
    ...(ofType.length === 0 ? {} : { operation: ofType }),
  };
}

function operationsOf(isOffered: (operation: Operation) => boolean): Record<string, string>[] {
  return operations.filter(isOffered).map(({ name, definition, summary }) => ({ name, definition, documentation: summary }));
}

let referrers: ReadonlyMap<string, readonly string[]> | undefined;

/** Parameters by which others refer to a type alone; of those that may refer to anything, only the one that US Core asks a server to name. */
function referringTo(type: string): readonly string[] {
  if (referrers === undefined) {
    const found = new Map<string, string[]>();
    for (const source of resourceTypes()) {
      for (const param of searchParamsOf(source).values()) {
        if (param.type !== 'reference' || !isSearchable(param) || readOnlyTypes.has(source)) continue;
        const targets = param.target ?? [];
        if (targets.length < maxTargets) for (const target of targets) found.set(target, [...(found.get(target) ?? []), `${source}:${param.code}`]);
      }
    }
    referrers = found;
  }
  return [...(referrers.get(type) ?? []), usCoreRevInclude];
}

const usCoreRevInclude = 'Provenance:target';

/** Definitions that mean any type list them all. */
const maxTargets = 100;

function modifiersByType(): string {
  const examples = new Map<string, SearchParam>();
  for (const type of resourceTypes()) for (const param of searchParamsOf(type).values()) if (isSearchable(param) && !param.code.startsWith('_') && !examples.has(param.type)) examples.set(param.type, param);
  return [...examples.values()].map((param) => `${param.type} ${modifiersOf(param).map((name) => `:${name}`).join(' ')}`).join('; ');
}

/** SMART's announcement of the authorization server in the form of SMART 1, as far as its extension goes (https://hl7.org/fhir/smart-app-launch/1.0.0/conformance/). */
function security(smart: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const endpoints = { authorize: 'authorization_endpoint', token: 'token_endpoint', manage: 'management_endpoint', register: 'registration_endpoint' };
  const uris = Object.entries(endpoints).flatMap(([url, name]) => (typeof smart[name] === 'string' ? [{ url, valueUri: smart[name] }] : []));
  return {
    cors: true,
    service: [{ coding: [{ system: 'http://terminology.hl7.org/CodeSystem/restful-security-service', code: 'SMART-on-FHIR', display: 'SMART-on-FHIR' }], text: 'SMART App Launch 2.2' }],
    extension: [{ url: 'http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris', extension: uris }],
  };
}
